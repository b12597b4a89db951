"""training."""

from clip_np.training.loop import METRICS, Trainer, TrainingError, TrainingOptions, read_metrics
from clip_np.training.plan import Unit, make_plan
from clip_np.training.step import TrainingStep, loss_and_gradients, training_step
from clip_np.training.tasks import FilesTask, ShapesTask, Task, open_task
from clip_np.training.watch import PATIENCE, RECORDS, TrainingWarning, Watch, warn_of_truncation
