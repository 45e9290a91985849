"""The gallery: `sphinx-build docs docs/_build` runs every example and makes a page of each."""

project = "dlcore"
extensions = ["sphinx.ext.mathjax", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build", "*.md", "examples"]
html_theme = "alabaster"
html_theme_options = {"description": "A small, fast deep-learning core", "page_width": "1100px"}
html_show_sourcelink = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "abort_on_example_error": True,
    "min_reported_time": 1,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
}
