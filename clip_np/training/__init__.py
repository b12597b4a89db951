"""From a loss to a step, and from steps to a run.

    TrainingOptions
           |
    Task --+--> Trainer ---- a batch ----> TrainingStep
     |             |                         |  forward in pieces (plan, worker)
     |             |                         |  the loss of the whole batch
     |             |                         |  backward in pieces (worker, sums)
     |             | <--- loss and norm ---- +  clip, update, clamp
     |             |
     |             +--> RunDirectory: checkpoint.npz, best.npz, metrics.jsonl, run.json
     |             +--> warnings
     |
     +--> report: the figures of the test split, at the end

A whole run, as `clip-np train` starts it:

    task = FilesTask("photos")
    options = TrainingOptions.of(task.settings, steps=2000)
    trainer = Trainer(task, options, directory=Path("runs/photos"))
    trainer.run()
    task.report(trainer.model, trainer.tokenizer)

Or a loop of one's own:

    optimizer = minigrad.optim.AdamW(model.parameters(), lr=1e-3)
    step = TrainingStep(model, optimizer, shards=4)
    for images, tokens in batches:
        print(step(images, tokens)["loss"])
"""

from clip_np.training.communicator import RankError
from clip_np.training.plan import Unit, make_plan
from clip_np.training.sums import GradientSums
from clip_np.training.worker import Worker
from clip_np.training.batch_gradient import loss_and_gradients
from clip_np.training.step import TrainingStep, training_step
from clip_np.training.shapes_figures import measure_shapes, shapes_report
from clip_np.training.data_record import changes, holds_all_held_out
from clip_np.training.tasks import FilesTask, ShapesTask, Task, open_task
from clip_np.training.options import BACKEND_HELP, RECIPES, TrainingOptions
from clip_np.training.cores import choose_processes
from clip_np.training.schedule import expected_steps, is_finished, learning_rate
from clip_np.training.log import METRICS, count_of_pairs, describe_validation, read_metrics
from clip_np.training.watch import (
    PATIENCE,
    WINDOW,
    TrainingWarning,
    Watch,
    warn_of_small_data,
    warn_of_truncation,
)
from clip_np.training.validation import Validation
from clip_np.training.vocabulary import train_tokenizer
from clip_np.training.saved import SavedTraining, saved_training
from clip_np.training.best import Best, score_of
from clip_np.training.description import read_description, write_description
from clip_np.training.directory import PICTURES, REPORT, RunDirectory, read_run
from clip_np.training.memory_estimate import (
    MemoryNeed,
    available_bytes,
    memory_message,
    memory_need,
    memory_of_run,
)
from clip_np.training.spoiled import TrainingError
from clip_np.training.process_team import ProcessTeam
from clip_np.training.mpi_team import (
    MpiTeam,
    follow_rank_0,
    require_alike,
    require_same_data,
    require_same_program,
)
from clip_np.training.interrupts import SIGNALLED, end_on_signals
from clip_np.training.loop import Trainer

__all__ = [
    "BACKEND_HELP",
    "METRICS",
    "PATIENCE",
    "PICTURES",
    "RECIPES",
    "REPORT",
    "SIGNALLED",
    "WINDOW",
    "Best",
    "FilesTask",
    "GradientSums",
    "MemoryNeed",
    "MpiTeam",
    "ProcessTeam",
    "RankError",
    "RunDirectory",
    "SavedTraining",
    "ShapesTask",
    "Task",
    "Trainer",
    "TrainingError",
    "TrainingOptions",
    "TrainingStep",
    "TrainingWarning",
    "Unit",
    "Validation",
    "Watch",
    "Worker",
    "available_bytes",
    "changes",
    "choose_processes",
    "count_of_pairs",
    "describe_validation",
    "end_on_signals",
    "expected_steps",
    "follow_rank_0",
    "holds_all_held_out",
    "is_finished",
    "learning_rate",
    "loss_and_gradients",
    "make_plan",
    "measure_shapes",
    "memory_message",
    "memory_need",
    "memory_of_run",
    "open_task",
    "read_description",
    "read_metrics",
    "read_run",
    "require_alike",
    "require_same_data",
    "require_same_program",
    "saved_training",
    "score_of",
    "shapes_report",
    "train_tokenizer",
    "training_step",
    "warn_of_small_data",
    "warn_of_truncation",
    "write_description",
]
