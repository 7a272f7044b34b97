#!/usr/bin/env python3
"""Opens and makes ssync envelopes, with nothing but Python's `cryptography` (Debian: python3-cryptography).

    envelope.py open KEYFILE TABLE COLUMN < envelopes     one a line; prints type tag, tab, value
    envelope.py vectors                                   prints the table in ENCRYPTION.md
"""

import base64
import struct
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

RANDOM, DETERMINISTIC = 0x48, 0x49


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(key)


def key_id(master: bytes) -> bytes:
    return hkdf(master, b"", b"ssync key id", 4)


def place(ident: bytes, table: str, column: str) -> bytes:
    """What binds a value to its column: `table` without schema, `column` in lower case (ASCII)."""
    fold = "".join(c.lower() if c.isascii() else c for c in column)
    names = [table.encode(), fold.encode()]
    header = b"ssync column" + bytes([RANDOM]) + ident
    return header + b"".join(struct.pack(">I", len(n)) + n for n in names)


def siv_key(master: bytes) -> bytes:
    return hkdf(master, b"", b"ssync deterministic" + key_id(master), 64)


def open_envelope(master: bytes, table: str, column: str, text: str) -> tuple[str, bytes]:
    """Type tag and plain bytes; raises when the envelope is not authentic."""
    text = text.rstrip(" ")
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    header, ident, rest = raw[0], raw[1:5], raw[5:]
    if ident != key_id(master):
        raise ValueError(f"sealed with key {ident.hex()}")
    if header == RANDOM:
        salt, counter, sealed = rest[:12], rest[12:14], rest[14:]
        bound = place(ident, table, column)
        plain = AESGCM(hkdf(master, salt, bound, 32)).decrypt(bytes(10) + counter, sealed, bound)
    elif header == DETERMINISTIC:
        plain = AESSIV(siv_key(master)).decrypt(rest, [bytes([header]) + ident])
    else:
        raise ValueError("not an envelope of this version")
    return chr(plain[0]), plain[1:]


def seal(master: bytes, table: str, column: str, plain: bytes, salt: bytes | None, counter: int = 0) -> str:
    """An envelope: deterministic without a salt. A salt and counter must never be used twice."""
    ident = key_id(master)
    if salt is None:
        head = bytes([DETERMINISTIC]) + ident
        raw = head + AESSIV(siv_key(master)).encrypt(plain, [head])
    else:
        bound, number = place(ident, table, column), struct.pack(">H", counter)
        sealed = AESGCM(hkdf(master, salt, bound, 32)).encrypt(bytes(10) + number, plain, bound)
        raw = bytes([RANDOM]) + ident + salt + number + sealed
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def vectors() -> None:
    master = bytes.fromhex("7c1e93d05a2f48b6e10c77ba3d9466f2180b5ce9a4d3217f8e60bb4597f2ca31")
    salt = bytes.fromhex("a0a1a2a3a4a5a6a7a8a9aaab")
    print(f"- master key: `{master.hex()}`\n- key id: `{key_id(master).hex()}`\n- salt: `{salt.hex()}`\n")
    print("| table column | mode | counter | tag | value | envelope |\n|---|---|---|---|---|---|")
    cases = [
        ("t", "13800138000", b"13800138000"),
        ("t", "", b""),
        ("t", "张三", "张三".encode()),
        ("d", "-1234.5600", b"-1234.5600"),
        ("i", "-9223372036854775808", b"-9223372036854775808"),
        ("f", "0.1", struct.pack(">d", 0.1)),
        ("b", "00ff80", bytes.fromhex("00ff80")),
        ("a", "2024-02-29", b"2024-02-29"),
        ("s", "1999-12-31 23:59:59.000001", b"1999-12-31 23:59:59.000001"),
        ("m", "-838:59:59", b"-838:59:59"),
    ]
    for n, (tag, shown, content) in enumerate(cases):
        plain = tag.encode() + content
        for mode, sealed in (
            ("random", seal(master, "dw_orders", "Mobile", plain, salt, n * 7281)),
            ("deterministic", seal(master, "dw_orders", "Mobile", plain, None)),
        ):
            counter = n * 7281 if mode == "random" else "–"
            table, column = "dw_orders", "Mobile"
            assert open_envelope(master, table, "mOBILE", sealed) == (tag, content)
            print(f"| `{table} {column}` | {mode} | {counter} | {tag} | `{shown}` | `{sealed}` |")


def main() -> None:
    match sys.argv[1:]:
        case ["vectors"]:
            vectors()
        case ["open", key_file, table, column]:
            with open(key_file) as file:
                master = bytes.fromhex(file.read().strip())
            for line in sys.stdin:
                tag, plain = open_envelope(master, table, column, line.strip())
                value = plain.hex() if tag in "bef" else plain.decode()
                print(f"{tag}\t{value}")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
