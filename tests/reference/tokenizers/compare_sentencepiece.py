"""Compares strata's reading of a SentencePiece tokenizer.model with SentencePiece itself
(Debian's python3-sentencepiece) on the texts of tests/support/texts.c.

    /usr/bin/python3 compare_sentencepiece.py BUILD FILE.model

Left out are texts in which a control symbol is written out: strata takes it as the token, as Hugging
Face does, and SentencePiece as text. NUL characters are too: Python's binding ends the text there.
"""

import json
import subprocess
import sys

import sentencepiece

build, path = sys.argv[1:]
lines = subprocess.run([build + "/tests/test_tokenizer_texts", "--print"], capture_output=True,
                       check=True).stdout.decode().split("\n")[:-1]
model = sentencepiece.SentencePieceProcessor(model_file=path)
control = [model.id_to_piece(i) for i in range(model.get_piece_size())
           if model.is_control(i) or model.is_unknown(i)]


def whole(line):
    """The text, with U+FFFD for each half of a surrogate pair."""
    return "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in json.loads(line))


texts = [text for text in map(whole, lines)
         if "\0" not in text and not any(c in text for c in control)]
given = "".join(json.dumps(text) + "\n" for text in texts)
ours = [json.loads(line) for line in
        subprocess.run([build + "/strata", "tokenize", path], input=given.encode(),
                       capture_output=True, check=True).stdout.decode().split("\n")[:-1]]
back = [json.loads(line) for line in
        subprocess.run([build + "/strata", "tokenize", path, "--decode"],
                       input="".join(json.dumps(ids) + "\n" for ids in ours).encode(),
                       capture_output=True, check=True).stdout.decode().split("\n")[:-1]]
encoded = decoded = 0
for text, ids, restored in zip(texts, ours, back):
    if ids != model.encode(text):
        encoded += 1
        if encoded < 6:
            print("  encode", ascii(text)[:200], ids[:40], model.encode(text)[:40], sep="\n    ")
    if restored != model.decode(ids):
        decoded += 1
        if decoded < 6:
            print("  decode", ascii(text)[:200], ascii(restored), ascii(model.decode(ids)),
                  sep="\n    ")
print(f"{path}: {len(texts)} texts: {encoded} differ in ids, {decoded} in text")
sys.exit(1 if encoded or decoded else 0)
