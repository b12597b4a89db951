"""What does the graph behind a tensor look like?

`draw` writes it as Mermaid text. GitHub, many editors and https://mermaid.live show
this as a picture, and it can be read as it is: a line for each operation, a line for
each arrow.
"""

import re
from collections.abc import Mapping

from minigrad.tape import Leaf, Node, Output, Place
from minigrad.tensor import Tensor


def draw(tensor: Tensor, names: Mapping[str, Tensor] | None = None) -> str:
    """The graph that made `tensor`, inputs first, as Mermaid flowchart text.

    Boxes are operations with the shape of their result, rounded boxes are leaves.
    `names` labels leaves: dict(model.named_parameters()) for instance. Call it before
    backward, which frees the graph.

    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> print(draw((x * x).sum(), names={"x": x}))
    flowchart TD
        n...("x (2,)")
        n...["mul (2,)"]
        n...["sum ()"]
        n... --> n...
        n... --> n...
        n... --> n...
    """
    if tensor._place is None:
        return f'flowchart TD\n    n0["constant {tensor.shape}"]'
    labels = {leaf._place: name for name, leaf in (names or {}).items() if leaf._place is not None}
    start = _node_of(tensor._place)
    nodes = {start}
    arrows = []
    waiting = [start]
    while waiting:
        child = waiting.pop()
        for place in _parents_of(child):
            parent = _node_of(place)
            arrows.append((parent.order, _output_of(place), child.order))
            if parent not in nodes:
                nodes.add(parent)
                waiting.append(parent)
    lines = ["flowchart TD"]
    for node in sorted(nodes, key=lambda node: node.order):
        lines.append(f"    n{node.order}{_box(node, labels.get(node, node.name))}")
    for parent_order, output, child_order in sorted(arrows):
        label = f"|output {output}|" if output >= 0 else ""
        lines.append(f"    n{parent_order} -->{label} n{child_order}")
    return "\n".join(lines)


def _box(node: Leaf | Node, label: str) -> str:
    """A node as Mermaid writes it: its name and its shapes in a box."""
    shapes = node.shape if isinstance(node.shape, list) else [node.shape]
    # In a text, Mermaid reads #34; as a quotation mark, which would otherwise end it.
    label = re.sub(r'["#<>&`\r\n]', lambda match: f"#{ord(match[0])};", label)
    text = f'"{label} {" ".join(map(str, shapes))}"'
    return f"[{text}]" if isinstance(node, Node) else f"({text})"


def _node_of(place: Place) -> Leaf | Node:
    return place.node if isinstance(place, Output) else place


def _output_of(place: Place) -> int:
    """Which of several results a place is; -1 if it is the only one."""
    return place.index if isinstance(place, Output) else -1


def _parents_of(node: Leaf | Node) -> list[Place]:
    """The places of a node's inputs. A leaf and a freed node have none."""
    parents = node.parents if isinstance(node, Node) else None
    return [place for place in parents or () if place is not None]
