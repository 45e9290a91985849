"""Module: what it holds, saving and loading, hooks, errors that name the layer, printing."""

import copy
import gc
import traceback
import weakref

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn


class Scale(nn.Module):
    """y = x w: needs nothing but shapes."""

    def __init__(self, n):
        self.weight = nn.Parameter(dl.ones((n,)))
        self.steps = dl.zeros((), dtype=dl.int64)
        self._table = dl.zeros((2,))

    def forward(self, x):
        if x.shape[-1] != self.weight.shape[0]:
            n = self.weight.shape[0]
            raise ValueError(f"[Scale] expected last dimension {n}, got {x.shape[-1]} (input {x.shape})")
        return x.reshape(x.shape)


class Block(nn.Module):
    def __init__(self, n):
        self.a = Scale(n)
        self.b = Scale(n)

    def forward(self, x):
        return self.b(self.a(x))


class Net(nn.Module):
    def __init__(self):
        self.h = nn.ModuleList(Block(3) for _ in range(2))
        self.bias = nn.Parameter(dl.zeros((3,)))

    def forward(self, x):
        for block in self.h:
            x = block(x)
        return x


def test_attributes_are_found_without_registration():
    net = Net()
    names = ["bias", "h.0.a.weight", "h.0.b.weight", "h.1.a.weight", "h.1.b.weight"]
    assert [n for n, _ in net.named_parameters()] == names
    assert len(list(net.parameters())) == 5
    assert [n for n, _ in net.named_buffers()][:2] == ["h.0.a.steps", "h.0.a._table"]
    assert len(list(net.buffers())) == 8
    assert [n for n, _ in net.named_modules()] == ["", "h", "h.0", "h.0.a", "h.0.b", "h.1", "h.1.a", "h.1.b"]
    assert [n for n, _ in net.named_children()] == ["h"] and list(net.children()) == [net.h]
    assert [n for n, _ in net.named_parameters(prefix="net", recurse=False)] == ["net.bias"]


def test_lists_tuples_and_dicts_are_searched():
    net = nn.Module()
    net.layers = [Scale(1), (Scale(2), {"deep": Scale(3)})]
    net.loose = [nn.Parameter(dl.ones((1,))), 7, "text"]
    names = [n for n, _ in net.named_parameters()]
    assert names == ["loose.0", "layers.0.weight", "layers.1.0.weight", "layers.1.1.deep.weight"]


def test_changed_attributes_count_at_once():
    net = nn.Module()
    net.p = nn.Parameter(dl.ones((1,)))
    net.p = nn.Parameter(dl.ones((2,)))
    net.q = None
    assert [p.shape for p in net.parameters()] == [(2,)]
    del net.p
    assert list(net.parameters()) == []


def test_what_requires_a_gradient_is_no_buffer():
    net = nn.Module()
    net.seen = dl.ones((2,), requires_grad=True)
    net.kept = dl.ones((2,))
    assert [n for n, _ in net.named_buffers()] == ["kept"]
    assert list(net.state_dict()) == ["kept"]


def test_shared_parameters_count_once():
    net = Net()
    net.h[1].a.weight = net.h[0].a.weight
    net.h[1].b = net.h[0].b
    assert [n for n, _ in net.named_parameters()] == ["bias", "h.0.a.weight", "h.0.b.weight"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 5
    assert len(net.state_dict()) == 9  # every path is saved


def test_a_child_that_knows_its_parent():
    net = Net()
    net.h[0].parent = net
    assert len(list(net.modules())) == 8 and len(net.state_dict()) == 9
    assert net.train().training


def test_train_eval_apply_freeze():
    net = Net()
    assert net.training and not net.eval().h[1].a.training and net.train().h[1].a.training
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Scale", "Scale", "Block"] * 2 + ["ModuleList", "Net"]
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())
    assert all(p.requires_grad for p in net.requires_grad_().parameters())


def test_zero_grad():
    net = Net()
    net.bias.grad = dl.ones((3,))
    net.zero_grad(set_to_none=False)
    assert net.bias.grad.tolist() == [0.0, 0.0, 0.0] and net.h[0].a.weight.grad is None
    net.zero_grad()
    assert net.bias.grad is None


def test_conversion_keeps_the_parameters():
    net = Net()
    before = list(net.parameters())
    net.bias.grad = dl.ones((3,))
    assert net.bfloat16() is net
    assert all(a is b and a.requires_grad for a, b in zip(before, net.parameters(), strict=True))
    assert all(p.dtype is dl.bfloat16 for p in before)
    assert net.bias.grad.dtype is dl.bfloat16
    assert net.h[0].a.steps.dtype is dl.int64 and net.h[0].a._table.dtype is dl.bfloat16
    assert net.double().bias.dtype is dl.float64 and net.float().bias.dtype is dl.float32
    assert net.to("cpu").to(dl.float64).bias.dtype is dl.float64
    with pytest.raises(TypeError, match="a module is converted to a floating dtype"):
        net.to(dl.int32)
    with pytest.raises(ValueError, match="device 'cuda' is not available"):
        net.to("cuda")


def test_state_dict_and_back():
    a, b = Net(), Net()
    for i, t in enumerate(a.state_dict().values()):
        t.numpy()[...] = i + 1
    state = a.state_dict()
    assert list(state)[:3] == ["bias", "h.0.a.weight", "h.0.a.steps"] and not any("_table" in k for k in state)
    assert not any(t.requires_grad for t in state.values())
    result = b.load_state_dict(state)
    assert result.missing_keys == result.unexpected_keys == []
    assert all(np.array_equal(t.numpy(), b.state_dict()[k].numpy()) for k, t in state.items())
    a.bias.numpy()[...] = 0
    assert b.bias.tolist() == [1.0, 1.0, 1.0]


def test_a_state_that_does_not_fit_lists_everything_and_changes_nothing():
    net = Net()
    state = net.state_dict()
    good = dl.full((3,), 5.0)
    state = {k: v for k, v in state.items() if "h.1" not in k}
    state |= {"bias": good, "extra.1": good, "extra.2": good}
    state |= {"h.0.a.weight": dl.zeros((4,)), "h.0.a.steps": dl.zeros(())}
    with pytest.raises(ValueError) as e:
        net.load_state_dict(state)
    assert str(e.value) == (
        "[load_state_dict] the state does not fit Net:\n"
        "  missing: h.1.a.weight, h.1.a.steps, h.1.b.weight, h.1.b.steps\n"
        "  unexpected: extra.1, extra.2\n"
        "  wrong shape: h.0.a.weight (expected (3,), got (4,))\n"
        "  wrong dtype: h.0.a.steps (expected int64, got float32)"
    )
    assert net.bias.tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(TypeError, match=r"\[load_state_dict\] expected a Tensor for 'bias', got list"):
        net.load_state_dict({"bias": [1.0]})


def test_loading_less_than_all():
    net = Net()
    result = net.load_state_dict({"bias": dl.full((3,), 5.0), "extra": dl.ones((1,))}, strict=False)
    assert len(result.missing_keys) == 8 and result.unexpected_keys == ["extra"]
    assert net.bias.tolist() == [5.0, 5.0, 5.0]
    with pytest.raises(ValueError, match="wrong shape: bias"):
        net.load_state_dict({"bias": dl.ones((4,))}, strict=False)


def test_one_path_of_a_shared_parameter_is_enough():
    net = Net()
    net.h[1].a.weight = net.h[0].a.weight
    state = net.state_dict()
    del state["h.0.a.weight"]
    state["h.1.a.weight"] = dl.full((3,), 4.0)
    net.load_state_dict(state)
    assert net.h[0].a.weight.tolist() == [4.0, 4.0, 4.0]


def test_assign_takes_over_the_memory():
    net = Net()
    given = dl.full((3,), 2.0).bfloat16()
    p = net.bias
    net.load_state_dict({"bias": given}, strict=False, assign=True)
    assert net.bias is p and p.dtype is dl.bfloat16 and p.data_ptr() == given.data_ptr() and p.requires_grad


def test_buffers():
    net = nn.Module()
    net.register_buffer("mean", dl.zeros((2,)))
    net.register_buffer("table", dl.zeros((2,)), persistent=False)
    net.register_buffer("none", None)
    net.plain = dl.zeros((2,))
    assert [n for n, _ in net.named_buffers()] == ["mean", "table", "plain"]
    assert list(net.state_dict()) == ["mean", "plain"]
    net.register_buffer("table", dl.zeros((2,)))
    assert "table" in net.state_dict()
    with pytest.raises(TypeError, match="expected a Tensor or None for 'x', got float"):
        net.register_buffer("x", 1.0)


def test_parameter():
    data = dl.ones((2,))
    p = nn.Parameter(data)
    assert isinstance(p, dl.Tensor) and p.requires_grad and p.is_leaf and p.data_ptr() == data.data_ptr()
    assert repr(p).startswith("Parameter containing:\ntensor([1., 1.]")
    assert type(p.reshape(2, 1)) is dl.Tensor
    frozen = nn.Parameter(dl.arange(3), requires_grad=False)
    assert not frozen.requires_grad
    with pytest.raises(TypeError, match="only floating dtypes can require a gradient, got dlcore.int64"):
        nn.Parameter(dl.arange(3))
    with pytest.raises(TypeError, match=r"\[Parameter\] expected a Tensor, got list"):
        nn.Parameter([1.0])


def test_parameters_get_gradients():
    p = nn.Parameter(dl.ones((2, 3)))
    p.sum().backward()
    assert p.grad.tolist() == [[1.0] * 3] * 2


def test_deepcopy_keeps_sharing_and_separates_memory():
    net = Net()
    net.h[1].a.weight = net.h[0].a.weight
    net.bias.grad = dl.ones((3,))
    twin = copy.deepcopy(net)
    assert twin.h[1].a.weight is twin.h[0].a.weight and isinstance(twin.bias, nn.Parameter)
    assert twin.bias.grad.tolist() == [1.0] * 3 and twin.bias.data_ptr() != net.bias.data_ptr()


def test_modules_are_freed():
    net = Net()
    gone = weakref.ref(net)
    net(dl.zeros((2, 3)))
    del net
    gc.collect()
    assert gone() is None


def test_hooks():
    net, calls = Net(), []
    before = net.register_forward_pre_hook(lambda m, args: calls.append(("before", args[0].shape)))
    after = net.register_forward_hook(lambda m, args, out: calls.append(("after", out.shape)))
    net(dl.zeros((2, 3)))
    assert calls == [("before", (2, 3)), ("after", (2, 3))]
    before.remove()
    after.remove()
    after.remove()
    net(dl.zeros((2, 3)))
    assert len(calls) == 2
    with net.register_forward_pre_hook(lambda m, args: dl.zeros((5, 3))):
        assert net(dl.zeros((2, 3))).shape == (5, 3)
    with net.h[0].register_forward_hook(lambda m, args, out: out.reshape(-1)):
        with pytest.raises(ValueError, match="^h.1.a: expected last dimension 3, got 6"):
            net(dl.zeros((2, 3)))
    assert net(dl.zeros((2, 3))).shape == (2, 3)
    assert [n for n, _ in net.named_modules()][1] == "h"


def test_a_module_as_hook_is_not_a_child():
    class Hook(nn.Module):
        def forward(self, module, args, out):
            return None

    net = Net()
    net.register_forward_hook(Hook())
    assert len(list(net.modules())) == 8


def test_an_error_names_the_layer_once():
    net = nn.Sequential({"transformer": Net()})
    with pytest.raises(ValueError) as e:
        net(dl.zeros((8, 4)))
    assert str(e.value) == "transformer.h.0.a: expected last dimension 3, got 4 (input (8, 4))"
    text = "".join(traceback.format_exception(e.value))
    assert "in forward" in text and "raise ValueError" in text and text.count("Error:") == 1


def test_an_error_of_a_layer_alone_names_its_type():
    with pytest.raises(ValueError, match=r"^\[Scale\] expected last dimension 3, got 4 \(input \(8, 4\)\)$"):
        Scale(3)(dl.zeros((8, 4)))


@pytest.mark.parametrize(
    "error, text",
    [
        (ValueError("[matmul] shapes"), "h.1.b: [matmul] shapes"),
        (TypeError("[x] dtype"), "h.1.b: [x] dtype"),
        (IndexError("[x] axis"), "h.1.b: [x] axis"),
        (MemoryError("[alloc] limit"), "h.1.b: [alloc] limit"),
        (RuntimeError("anything"), "h.1.b: anything"),
        (KeyError("key"), "'key'"),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
        (ValueError(), ""),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else "",
)
def test_every_exception_keeps_its_type(error, text):
    net = Net()

    def fail(x):
        raise error

    net.h[1].b.forward = fail
    with pytest.raises(type(error)) as e:
        net(dl.zeros((2, 3)))
    assert e.value is error and str(e.value) == text


def test_an_error_caught_inside_has_the_path_up_to_there():
    class Careful(Net):
        def forward(self, x):
            try:
                return super().forward(x)
            except ValueError as e:
                self.message = str(e)
                raise RuntimeError("[Careful] could not") from e

    net = nn.Sequential(Careful())
    with pytest.raises(RuntimeError, match=r"^0: could not$"):
        net(dl.zeros((2, 4)))
    assert net[0].message == "a: expected last dimension 3, got 4 (input (2, 4))"


def test_interrupts_pass():
    net = Net()

    def interrupt(x):
        raise KeyboardInterrupt

    net.h[0].a.forward = interrupt
    with pytest.raises(KeyboardInterrupt):
        net(dl.zeros((2, 3)))


def test_forward_is_missing():
    with pytest.raises(NotImplementedError, match=r"\[Module\] forward is not defined"):
        nn.Module()(1)


def test_get_submodule():
    net = Net()
    assert net.get_submodule("h.1.b") is net.h[1].b and net.get_submodule("") is net
    with pytest.raises(AttributeError, match="Net has no module 'h.7'"):
        net.get_submodule("h.7")


def test_printing():
    assert repr(nn.Linear(3, 4)) == "Linear(in_features=3, out_features=4, bias=True)"
    net = nn.Sequential({"up": nn.Linear(3, 4, bias=False), "act": nn.ReLU()})
    assert str(net) == "Sequential(\n  (up): Linear(in_features=3, out_features=4, bias=False)\n  (act): ReLU()\n)"
    assert str(Net()) == (
        "Net(\n  (h): ModuleList(\n    (0-1): 2 x Block(\n      (a): Scale()\n      (b): Scale()\n    )\n  )\n)"
    )


def test_sequential():
    net = nn.Sequential(nn.Flatten(), nn.Identity())
    assert net(dl.zeros((2, 3, 4))).shape == (2, 12) and len(net) == 2
    assert isinstance(net[-1], nn.Identity) and len(net[:1]) == 1 and [type(m) for m in net][0] is nn.Flatten
    net.append(nn.Flatten(0))
    assert net(dl.zeros((2, 3, 4))).shape == (24,)
    net[-1] = nn.Linear(12, 5)
    assert net(dl.zeros((2, 3, 4))).shape == (2, 5) and len(net) == 3
    with pytest.raises(IndexError, match=r"\[Sequential\] index 3 is out of range for 3 modules"):
        net[3] = nn.Identity()
    with pytest.raises(IndexError, match=r"\[Sequential\] index 3 is out of range for 3 modules"):
        net[3]
    with pytest.raises(TypeError, match=r"\[Sequential\] expected a Module, got int"):
        nn.Sequential(3)


def test_module_list():
    items = nn.ModuleList([Scale(1), Scale(2)])
    items.insert(0, Scale(3))
    items[1] = Scale(4)
    items.extend([Scale(5)])
    del items[2]
    assert [m.weight.shape[0] for m in items] == [3, 4, 5]
    assert list(items.state_dict()) == ["0.weight", "0.steps", "1.weight", "1.steps", "2.weight", "2.steps"]
    assert isinstance(items[1:], nn.ModuleList) and len(items[1:]) == 2
    with pytest.raises(IndexError, match=r"\[ModuleList\] index -4 is out of range for 3 modules"):
        items[-4]
    with pytest.raises(TypeError, match=r"\[ModuleList\] expected a Module, got function"):
        items.append(lambda x: x)


def test_module_dict():
    items = nn.ModuleDict({"a": Scale(1)})
    items["b"] = Scale(2)
    assert list(items) == list(items.keys()) == ["a", "b"] and "a" in items and len(items) == 2
    assert list(items.state_dict()) == ["a.weight", "a.steps", "b.weight", "b.steps"]
    assert items.pop("a").weight.shape == (1,) and list(items.values()) == [items["b"]]
    del items["b"]
    assert list(items.items()) == []
    for name in ("", "x.y", 3):
        with pytest.raises(ValueError, match="expected a name that is a string without dots"):
            items[name] = Scale(1)
    with pytest.raises(TypeError, match=r"\[ModuleDict\] expected a Module"):
        items["c"] = 3


def test_summary():
    net = Net()
    net.h[1].a.weight = net.h[0].a.weight
    before = [m.training for m in net.modules()]
    summary = net.summary(dl.zeros((2, 3)))
    rows = {row.path: row for row in summary.layers}
    assert list(rows) == [n for n, _ in net.named_modules()]
    assert rows["h.0.a"].parameters == 3 and rows["h.1.a"].parameters == 0 and summary.parameters == 12
    assert rows["h.1.b"].output_shape == (2, 3) and rows["h"].output_shape is None
    assert summary.activation_bytes == 0  # everything is a view of the input
    assert [m.training for m in net.modules()] == before and not net.h[0].a._forward_hooks
    for row in summary.layers:
        assert {type(n) for n in (row.parameters, row.multiply_adds, row.activation_bytes)} == {int}
