"""Cancel-on-disconnect: an account's orders go when the connections are gone that were to guard them."""
