"""How SDKs send their requests, and where one sees them: whole, once, with the response."""
