"""Which rank of an MPI launch is this process, and who speaks?

    mpiexec -n 4 python -m mpi4py -m clip_np embed RUN photos -o index.npz

starts the same command four times. Rank 0 writes the files and prints. The others
compute, and are silent. All have to be started alike.
"""

import argparse
import sys
import warnings

from clip_np.training import require_same_program
from clip_np.training.communicator import MpiRank, rank_of_launch

EMBEDDING_DEADLINE = 900.0
"""Seconds that a rank waits for another while images are embedded.

A rank may have a batch of 64 images more than another: the largest published models
need minutes for it on one core.
"""


def join_launch(arguments: argparse.Namespace, deadline: float) -> MpiRank | None:
    """This process's rank, if a launcher has started several; else None.

    ValueError on every rank if they differ in versions or options. The result of a rank
    other than 0 is not printed, and its warnings are not shown.
    """
    comm = rank_of_launch(deadline)
    if comm is None:
        return None
    require_same_program(comm, sys.argv[1:])
    if comm.rank > 0:
        arguments.json = False
        warnings.simplefilter("ignore")
    return comm
