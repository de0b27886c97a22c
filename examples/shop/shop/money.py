def francs(cents: int) -> str:
    """``CHF 12.50`` of 1250."""
    return f"CHF {cents // 100:,}.{cents % 100:02}".replace(",", "'")
