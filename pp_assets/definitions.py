"""The whole platform on one screen: what `build_defs` puts together from the assets, jobs and sensors."""

from pp_assets.build import build_defs

defs = build_defs()
