"""tmp"""
def prune_some(store, retention, *, now):
    return 60.0
