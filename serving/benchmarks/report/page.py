"""A Markdown report as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from optformer.data.studies.extras import importing

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; \
padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }}
th, td {{ padding: 0.25rem 0.75rem; border-bottom: 1px solid #ddd; text-align: left; \
font-variant-numeric: tabular-nums; }}
th {{ border-bottom: 2px solid #888; }}
img {{ max-width: 100%; }}
code {{ background: #f3f3f3; padding: 0 0.2em; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(markdown: str, title: str, folder: Path) -> str:
    """Turn Markdown into a page with its pictures inside.

    Args:
        markdown: The text; its pictures are PNG files.
        title: The page's title.
        folder: Where the pictures lie.

    Raises:
        MissingExtraError: markdown is not installed.
    """
    with importing("the HTML report", "markdown"):
        from markdown import markdown as to_html

    def embed(match: re.Match[str]) -> str:
        data = base64.b64encode((folder / match[1]).read_bytes()).decode()
        return f'src="data:image/png;base64,{data}"'

    body = re.sub(r'src="([^":]+\.png)"', embed, to_html(markdown, extensions=["tables"]))
    return _PAGE.format(title=title, body=body)
