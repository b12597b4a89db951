"""How do ranks talk to each other: threads, processes of one machine, and MPI?

protocol.py         what every communicator offers; the one for a single process
thread_ranks.py     threads: the plain form, to read and to test with
process_ranks.py    processes that share memory, with
    shared_block.py     arrays that several processes see
    messages.py         objects in such memory
    waiting.py          until another process is ready
    owning.py           which parameters are a rank's own
mpi_ranks.py        processes on one machine or many, through MPI
"""

from clip_np.training.communicator.protocol import Communicator, OneProcess, RankError, StalledError
from clip_np.training.communicator.owning import owned_by
from clip_np.training.communicator.thread_ranks import ThreadRank, run_thread_ranks
from clip_np.training.communicator.shared_block import Block, pack, unpack
from clip_np.training.communicator.process_ranks import ProcessRank, Sizes
from clip_np.training.communicator.mpi_ranks import MpiRank, rank_of_launch

__all__ = [
    "Block",
    "Communicator",
    "MpiRank",
    "OneProcess",
    "ProcessRank",
    "RankError",
    "Sizes",
    "StalledError",
    "ThreadRank",
    "owned_by",
    "pack",
    "rank_of_launch",
    "run_thread_ranks",
    "unpack",
]
