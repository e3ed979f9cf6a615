"""Makes a sound command unsound: one field of it, or of a message in it, gets a value that it may not have."""

import random

from google.protobuf.message import Message

from openbourse.contracts import v1

ENUMERATION_NUMBERS = (0, 1, 2, 3, 4, 5, 6, 7, 99, -1)
TEXTS = ("", " ", "é", "x" * 37, "X" * 33, "y" * 65, "z" * 254, "w" * 2000)
NUMBERS = (0, 1, 2, 3, 999, 60_001, 1_000_001, 86_400_001)


def spoil(pick: random.Random, command: v1.Command) -> None:
    name = command.WhichOneof("body")
    assert name is not None
    spoil_field(pick, getattr(command, name))
    if pick.random() < 0.1:
        command.ClearField(name)
    if pick.random() < 0.1:
        command.causation_id = "c" * 513


def spoil_field(pick: random.Random, body: Message) -> None:
    spoiled = pick.choice([field for field in body.DESCRIPTOR.fields if not field.is_repeated])
    if spoiled.type == spoiled.TYPE_STRING:
        setattr(body, spoiled.name, pick.choice(TEXTS))
    elif spoiled.type == spoiled.TYPE_ENUM:
        setattr(body, spoiled.name, pick.choice(ENUMERATION_NUMBERS))
    elif spoiled.type == spoiled.TYPE_MESSAGE:
        if pick.random() < 0.3:
            body.ClearField(spoiled.name)
        else:
            spoil_field(pick, getattr(body, spoiled.name))
    elif spoiled.type == spoiled.TYPE_BOOL:
        setattr(body, spoiled.name, pick.random() < 0.5)
    else:
        signed = spoiled.type == spoiled.TYPE_INT64
        setattr(body, spoiled.name, pick.choice([*NUMBERS, -1] if signed else NUMBERS))
