"""All of it from a shell: `clip-np`, also started as `python -m clip_np`.

    clip-np train                                 the built-in shapes, in two minutes
    clip-np train --data FOLDER                   your own images and captions
    clip-np evaluate RUN                          the figures of a run, once more
    clip-np plot RUN                              the loss so far
    clip-np plot RUN RUN                          which of two runs went better
    clip-np explore RUN                           a page on which a model can be clicked
    clip-np info RUN                              what a model is
    clip-np classify RUN cat.jpg "a cat" "a dog"  which caption fits an image
    clip-np embed RUN FOLDER -o index.npz         see all images once ...
    clip-np search index.npz "a cat on a roof"    ... and find them at once
    clip-np duplicates index.npz                  images that are the same
    clip-np convert RUN DIRECTORY                 write a model for other libraries

What goes in are arguments. What comes out are lines for people on stdout; with --json
these go to stderr, and one JSON object is the last line of stdout. A mistake ends with
one line on stderr that says what to do, and exit status 1. Ctrl-C saves first and ends
with 130.

The files:

program      from arguments to an exit status: `main`
parser       which commands and options there are
shared_arguments, search_arguments     arguments of several commands, and for searching
mistyped     what a wrong argument may have meant
messages     parameters of functions become options of the command line
output       lines, pictures and warnings for people
runs         train
evaluating, classifying                measuring_arguments: evaluate
plotting     plot
exploring    explore
chosen       which options were chosen
figures      figures beside chance
asking       info, classify
searching    embed, search, duplicates
converting   convert
"""

from clip_np.cli.program import main

__all__ = ["main"]
