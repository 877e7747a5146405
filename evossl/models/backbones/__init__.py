"""Backbones, one file each; `evossl.models.encoder.BACKBONES` lists them."""
