"""Shows a manager the sentiment of one client's support tickets, on one HTML page."""
