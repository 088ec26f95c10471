"""The factory: keys, and the certificates that say who may sign what and which device is which."""
