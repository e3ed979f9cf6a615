"""`openbourse` on the command line."""
