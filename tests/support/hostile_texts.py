"""Texts that try to be more than text, for names, outputs and errors."""

TEXTS = {
    "script": "<script>window.hacked = 1</script>",
    "attribute": "\" onmouseover='window.hacked = 2' x=\"",
    "image": "<img src=x onerror=window.hacked=3>",
    "entity": "&lt;script&gt;&#60;script&#62;",
    "terminal": "\x1b[2J\x1b]0;title\x07\x1b[31mred",
    "link": "\x1b]8;;javascript:window.hacked=4\x07click\x1b]8;;\x07",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x9b31m",
    "right to left": "\u202egpj.exe\u2066\u2069\u200f",
    "path": "../../../etc/passwd",
    "style": "</style><style>*{display:none}</style></pre></td></table>",
    "long": "n" * 10_000,
    "markdown": "[x](javascript:window.hacked=5) ![](x)",
    "latex": "$\\href{javascript:window.hacked=6}{x}$",
}
