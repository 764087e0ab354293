"""ENCODING: held by whoever turns text into token ids. A tokenizer keeps in itself whether control tokens that a text
spells out stay text, so that two who encode at once would decide it for each other. Knows no tokenizer."""

import threading

ENCODING = threading.RLock()
