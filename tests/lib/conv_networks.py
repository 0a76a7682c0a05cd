"""Random convolutional networks, as a hypothesis strategy, so that a failure shrinks to a small one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from conv_steps import STEPS, classifier, conv, first_conv
from hypothesis import assume
from hypothesis import strategies as st
from network_builder import Network, Value
from onnx import TensorProto, helper
from random_networks import Case, finish


@st.composite
def conv_networks(draw: Callable[..., Any], few_channels: bool = False) -> Case:
    """Random cases: network, data, and options; feature maps are 3 to 9 entries wide.

    ``few_channels``: all begin with a layer of few channels, whose taps have room beside these on the rows of the array.
    """
    n = Network(draw, draw(st.sampled_from((21, 17, 13))), np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    sizes = draw(st.lists(st.integers(3, 9), min_size=2 if few_channels else 1, max_size=2))
    shape = (draw(st.integers(1, 3)), draw(st.sampled_from((3, 1, 2, 4, 5, 6, 7 if few_channels else 8))), *sizes)
    n.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    n.data["x"] = n.rng.normal(size=shape).astype(np.float32)
    n.pool.append(Value("x", shape, 1.0))
    last = draw(st.sampled_from(([], [classifier])))
    for step in [first_conv if few_channels else conv, *draw(st.lists(st.sampled_from(STEPS), min_size=2, max_size=10)), *last]:
        value = step(n)
        if value is not None and 1e-6 < value.scale < 1e6:
            n.pool.append(value)
    assume(len(n.pool) > 1)
    case = finish(n, largest_array=20)
    return replace(case, options=replace(case.options, input_grads=())) if few_channels else case
