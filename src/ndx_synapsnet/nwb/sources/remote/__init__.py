"""One immutable object behind ranged HTTP requests; knows nothing of archives or NWB."""
