"""One file per network; `evossl.models.encoder.BACKBONES` lists them."""
