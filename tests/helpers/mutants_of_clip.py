"""Planted mistakes in the model, the losses and the training step."""

from planting import of

MODEL = of(
    "clip_np.losses.similarity",
    ("captions get no gradient", "similarity_logits", "texts.T", "texts.detach().T",
     "embeddings gathered from elsewhere come without their graph"),
    ("the temperature gets no gradient", "similarity_logits", "mg.exp(logit_scale)",
     "mg.exp(logit_scale.detach())", "a number taken out of the graph"),
)  # fmt: skip

SIGMOID_LOSS = of(
    "clip_np.losses.sigmoid",
    ("the bias gets no gradient", "sigmoid_loss", "+ logit_bias", "+ logit_bias.detach()",
     "a number taken out of the graph"),
    ("a mean over all pairs", "sigmoid_loss", "losses.sum() / count", "losses.mean()",
     "N^2 in place of N"),
    ("pairs that are left out are wrong answers", "sigmoid_loss",
     "mg.where(ignored, 0.0, losses)", "losses * 1.0", "positives are not looked at"),
)  # fmt: skip

STEP = of(
    "clip_np.training.batch_gradient",
    ("temperature's gradient k times too large", "walk_back",
     "meeting.loss_gradients, parameters)",
     "[(p, g * len(loads)) for p, g in meeting.loss_gradients], parameters)",
     "every shard replays the loss (open_clip's accumulation)"),
    ("temperature's gradient n times too large", "walk_back",
     " if comm.rank == 0 else {}", "", "every rank has the whole of it, and all of them are added"),
)  # fmt: skip

OVERLAP = of(
    "clip_np.training.overlap",
    ("the loss's gradient replaces the encoder's", "added", "first + second", "second",
     "no parameter is expected to belong to both"),
    ("a missing factor n", "sum_over_ranks", "move(total, parameter.backend)",
     "move(total / comm.size, parameter.backend)",
     "gradients of ranks are averaged, as where each has a mean of its own"),
    ("a parameter of two encoders travels with the first", "groups_of",
     "for group in groups:", "for group in reversed(groups):",
     "what the second encoder adds comes too late"),
    ("a group is summed before it is complete", "Summation._add_up_early",
     "self.sums.wait_for(group.encoders)", "not self.sums.is_given_up",
     "the sum begins with what is there"),
)  # fmt: skip

MEETING = of(
    "clip_np.training.meeting",
    ("captions' gradients in the batch's order", "meet",
     "text_gradient[caption_order]", "text_gradient", "the captions were sorted by length"),
    ("captions' embeddings in their sorted order", "meet",
     "captions[array_module(captions).asarray(order)]", "captions",
     "captions and images no longer belong together"),
    ("an order for its inverse", "meet", "np.argsort(rows_of_captions)",
     "rows_of_captions", "the two are equal for a batch of two"),
    ("a gather without gradient", "differentiate_loss",
     "value = loss(image_features, text_features, positives)",
     "value = 0.5 * (loss(image_features, text_features.detach(), positives)"
     " + loss(image_features.detach(), text_features, positives))",
     "what came from other ranks is taken for constant; the loss is right"),
    ("the first rank's rows for every rank", "meet",
     "image_gradient[handed], text_gradient[handed]",
     "image_gradient[: batch.size], text_gradient[: batch.size]", "right for rank 0"),
)  # fmt: skip

RANKS = [
    *of(
        "clip_np.training.communicator.process_ranks",
        ("the last rank's gradients", "ProcessRank.all_reduce", "candidates[0] += other",
         "candidates[0][...] = other", "= where += was meant"),
    ),
    *of(
        "clip_np.training.communicator.thread_ranks",
        ("the first rank's gradients", "add_in_order", "total += array", "pass",
         "ranks that compute the same need no sum"),
    ),
]  # fmt: skip

WORKER = of(
    "clip_np.training.worker",
    ("a missing shard", "Worker.backward", "zip(self.units, self.outputs)",
     "zip(self.units[:1], self.outputs)", "the rows of the other shards get no gradient"),
    ("the first rows' gradients for every unit", "Worker._walk_back", "[unit.rows])",
     "[: unit.size])", "right for the first unit"),
    ("a shard overwrites the last one", "Worker._receiver", "so_far[position] += gradient",
     "so_far[position] = gradient", "= where += was meant"),
    ("every unit hands over", "Worker._walk_back", "sums if is_last else None", "sums",
     "only the first of a worker's units waits for its turn"),
)  # fmt: skip

SUMS = of(
    "clip_np.training.sums",
    ("only the first worker's gradients", "GradientSums._add_up",
     "self.totals[key] += gradient", "pass", "the workers' gradients are not added up"),
    ("those that wait are forgotten", "GradientSums.finish",
     "self._add_up(encoder, position, gradient)", "pass",
     "a worker that never comes holds up the others"),
    ("one encoder's gradients of a shared parameter", "GradientSums.finish",
     "sums[position] + total if", "total if", "a parameter is taken to belong to one encoder"),
)  # fmt: skip

PLAN = of(
    "clip_np.training.plan",
    ("a row is lost at each cut", "cut_evenly", "unit.part(start, stop)",
     "unit.part(start, max(start + 1, stop - 1))", "an end that belongs to neither part"),
)  # fmt: skip
