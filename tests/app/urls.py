from django.http import HttpResponse
from django.urls import path

from tests.app import tasks


def enqueue(request):
    result = tasks.add.enqueue(1, 2)
    return HttpResponse(result.id)


urlpatterns = [path("enqueue/", enqueue)]
