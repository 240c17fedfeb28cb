"""The trainings of networks by their names, and their configurations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dkt.base.config import load_config
from dkt.train.train_dnn import DnnRecipe
from dkt.train.train_lstm import LstmRecipe

RECIPES: dict[str, type[DnnRecipe] | type[LstmRecipe]] = {"dnn": DnnRecipe, "lstm": LstmRecipe}


def load_recipe(name: str, path: str | Path | None, overrides: Sequence[str] = ()) -> DnnRecipe | LstmRecipe:
    """Read the configuration of a training; see ``load_config``.

    Args:
        name: of ``RECIPES``.
        path: a YAML file, or None for the defaults.
        overrides: ``section.key=value`` settings.

    Raises:
        DktError: it is not a configuration of this training.
    """
    return load_config(RECIPES[name], path, overrides)
