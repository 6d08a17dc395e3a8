"""The contract of a method, and all that it is handed: a `Trial` that trains, evaluates, prunes, charges and watches.

Public names are imported from `bench`. Everything outside a method's reach (plans, records, test images) is elsewhere.
"""
