"""What an API key may be allowed and how much of it there may be, in a file as in an ApiKey. Imports nothing: whoever
lists objects need not load what reads keys."""

from typing import Literal

ADDRESSES_MOST, LABEL_LENGTH_MOST, PUBLIC_KEY_LENGTH_MOST = 64, 64, 2048

Permission = Literal["TRADE", "USER_DATA", "USER_STREAM"]
PERMISSIONS: tuple[Permission, ...] = ("TRADE", "USER_DATA", "USER_STREAM")
