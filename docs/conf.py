"""How the documentation is built: `make docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("_ext")))

import celeriac

project = "celeriac"
copyright = "the authors of celeriac"
release = version = celeriac.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "examples", "generated"]
exclude_patterns = ["_build"]
default_role = "code"  # docstrings have `names` so

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"celeriac {release}"
html_static_path = ["_static"]
html_css_files = ["celeriac.css"]
html_theme_options = {"navigation_with_keys": True}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
