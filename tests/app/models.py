from django.db import models


class Account(models.Model):
    email = models.EmailField(unique=True)


class Note(models.Model):
    text = models.CharField(max_length=100)


class Invoice(models.Model):
    # Deferrable on both databases: a broken reference is seen at commit only.
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    amount = models.IntegerField(default=0)
