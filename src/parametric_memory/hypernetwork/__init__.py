"""The hypernetwork: features of the frozen base model in, an atom's code, micro-LoRA and gates out."""
