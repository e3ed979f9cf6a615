"""Most orders, the short way: requests that are as nearly all are, without a task, a dictionary or a search each."""
