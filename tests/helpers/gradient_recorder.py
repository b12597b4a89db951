"""An optimizer that moves nothing and keeps the gradients of any number of ranks."""

from minigrad.optim import Optimizer


class GradientRecorder(Optimizer):
    """Its one moment is the last gradient."""

    n_moments = 1

    def __init__(self, params):
        super().__init__(params, lr=1.0, weight_decay=0.0)

    def update(self, p, g, factor, moments, group):
        moments[0][...] = g if factor is None else g * factor

    def gradients(self, parameters):
        """The last gradient of each parameter."""
        found = {}
        for flat, (moment,) in zip(self.flats, self.moments):
            for parameter, start, stop in zip(flat.parameters, flat.starts, flat.stops):
                found[id(parameter)] = moment[start:stop].reshape(parameter.shape)
        return [found[id(parameter)] for parameter in parameters]
