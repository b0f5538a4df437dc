"""From documents to rows of tokens: tokenizers, shards, mixture, loader."""
