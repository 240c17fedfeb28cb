"""The stand-alone back end: lexicon, language model, GMM, graph, decoder and scoring without Kaldi."""
