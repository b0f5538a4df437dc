"""The reference's pages: one a package, from its modules; called by mkdocs."""

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = "phi1_jax"
# Packages of which only the parts that users call are shown.
WHOLE = ("unconventional", "offline_teacher")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds reference/PACKAGE.md for each package, and reference/core.md for loose modules."""
    root = Path(config.config_file_path).parent / PACKAGE
    loose = [path for path in root.glob("*.py") if path.stem != "__init__"]
    _add(files, config, "core", "Settings, errors and files, which every package uses.", loose)
    for init in sorted(root.glob("*/__init__.py")):
        modules = [init] if init.parent.name in WHOLE else []
        for path in init.parent.rglob("*.py") if not modules else []:
            if path.parent.name in WHOLE:
                modules += [path] * (path.stem == "__init__")
            elif path.stem != "__init__":
                modules.append(path)
        doc = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
        _add(files, config, init.parent.name, doc.split("\n\n")[0], modules)
    return files


def _add(files: Files, config: MkDocsConfig, name: str, doc: str, modules: list[Path]) -> None:
    root = Path(config.config_file_path).parent
    lines = [f"# {name}", doc]
    for path in sorted(modules):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        lines.append(f"::: {module}")
    page = File.generated(config, f"reference/{name}.md", content="\n\n".join(lines) + "\n")
    files.append(page)
