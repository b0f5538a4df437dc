"""The repository's address in every notebook: fill in ADDRESS, then python notebooks/_address.py.

It goes into the badge that opens a notebook in Colab and into what its installation clones.
"""

import re
import subprocess
import sys
from pathlib import Path

ADDRESS = ""  # such as https://github.com/ACCOUNT/phi1_jax
_BADGE = re.compile(r"^# (?:<a href=.*Open in Colab.*|To open it in Colab.*)$", re.M)
_PARAMETER = re.compile(r'^REPOSITORY = ".*?"', re.M)


def with_address(text: str, name: str, address: str = ADDRESS) -> str:
    """A notebook's percent script, with the badge and the parameter for an address.

    Args:
      name: of the notebook, without its ending.
    """
    badge = "# To open it in Colab, upload it there: the repository has no address yet."
    if address:
        page = address.replace("https://github.com", "https://colab.research.google.com/github")
        page += f"/blob/main/notebooks/{name}.ipynb"
        image = "https://colab.research.google.com/assets/colab-badge.svg"
        badge = f'# <a href="{page}"><img src="{image}" alt="Open in Colab"></a>'
    text = _BADGE.sub(lambda _: badge, text, count=1)
    return _PARAMETER.sub(f'REPOSITORY = "{address}"', text, count=1)


if __name__ == "__main__":
    for script in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        script.write_text(with_address(script.read_text("utf-8"), script.stem), encoding="utf-8")
        # --update keeps the outputs.
        command = [sys.executable, "-m", "jupytext", "--update", "--to", "ipynb", str(script)]
        subprocess.run(command, check=True)
