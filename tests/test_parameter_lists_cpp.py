"""The parameters of every function in the headers of C++: normkernels.h is the list.

They are read as text and compared with it; no compiler is needed."""

import re

import pytest
from declarations import (
    DECLARED,
    HEADER,
    OPERATORS,
    arguments_of,
    assert_none,
    differences,
    documented,
    split,
    unequal,
)

HEADERS = {path.name: path.read_text() for path in sorted(HEADER.parent.glob("*.hpp"))}
STEPS = HEADERS["steps.hpp"]
FAMILIES = "".join(
    text for name, text in HEADERS.items() if name.endswith(("_norm.hpp", "moments.hpp"))
)

# The functions that return a status, and for each the dense C function and that for views.
TRIES = dict(
    re.findall(r"^Status try_(\w+)\(.*?\) noexcept {\n(.*?)^}", FAMILIES, flags=re.S | re.M)
)
WRAPPED = [name for name in OPERATORS if f"{name}_view" in DECLARED]
IN_STEPS = [name for name in OPERATORS if name not in WRAPPED and not name.endswith("_view")]
each_wrapped = pytest.mark.parametrize("function", WRAPPED)
each_step = pytest.mark.parametrize("function", IN_STEPS)


def of_cpp(function):
    return function.removeprefix("normkernels_")


def text_of(argument):
    """The text of literals that stand beside each other."""
    return "".join(re.findall(r'"([^"]*)"', argument))


# ---- What is passed on


def parameter_of(passed):
    """The parameter that an argument in the interface is for."""
    known = {"type": "dtype", "dtype<T>": "dtype", "scratch.data()": "workspace", "to": "moments"}
    if passed in known:
        return known[passed]
    name = re.sub(r"^(o|m|i|shape)\.", "", passed)
    name = re.sub(r"\.data\(\)$", "", name).replace(".strides()", "_strides")
    return re.sub(r"^\w+\.(rank|shape)\(\)$", r"\1", name)


def assert_passes(function, names, passed):
    declared = DECLARED[function].names
    assert_none(differences(f"{function}: the text", text_of(names).split(), declared))
    assert_none(differences(f"{function}: the call", list(map(parameter_of, passed)), declared))


@each_wrapped
def test_functions_pass_and_name_what_the_header_declares(function):
    body = TRIES[of_cpp(function)]
    runs = list(arguments_of("call.run", body))
    assert [run[0] for run in runs] == [function, f"{function}_view"]
    for called, names, *passed in runs:
        assert_passes(called, names, passed)
    ((name, first, _),) = arguments_of("Call call", body)
    assert text_of(name) == of_cpp(function)
    assert f"const auto& {text_of(first)} = detail::array_of(input);" in body


@each_step
def test_steps_pass_and_name_what_the_header_declares(function):
    calls = [*arguments_of("detail::step", STEPS), *arguments_of("call.run", STEPS)]
    by_name = {
        called: (names, passed)
        for arguments in calls
        for called, names, *passed in [arguments[1:] if arguments[0].startswith('"') else arguments]
    }
    assert_passes(function, *by_name[function])
    assert re.search(rf'\("{of_cpp(function)}"', STEPS)


@each_wrapped
def test_every_array_is_compared_with_the_shape_under_its_name(function):
    body, declared = TRIES[of_cpp(function)], DECLARED[function]
    checked = [
        (text_of(name), parameter_of(array))
        for check in ("same_shape", "optional_same_shape", "line")
        for name, array, *_ in arguments_of(rf"call\.{check}", body)
    ]
    checked += [
        (text_of(name), array) for _, name, array, _ in arguments_of("detail::moments_of", body)
    ]
    assert_none(f"{function}: {name} is {array}" for name, array in checked if name != array)
    pointers = {"const void*", "void*", "normkernels_row_moments*"}
    arrays = {name for name, kind in declared.types.items() if kind in pointers}
    ((_, first, _),) = arguments_of("Call call", body)
    expected = arrays - {"workspace", text_of(first)}
    assert_none(unequal(f"{function}: compares", {name for name, _ in checked}, expected))


# ---- What is taken

C_TYPES = {
    "const void*": {"X", "Input", "InStatistic", "Line<const T>", "Array<const T>"},
    "void*": {"Output", "OutStatistic", "Line<T>", "Array<T>", "Workspace*"},
    "double": {"double"},
    "normkernels_order": {"Order"},
    "int64_t": {"std::int64_t"},
    "uint64_t": {"Axes"},
    "const normkernels_executor*": {"const normkernels_executor*"},
    "normkernels_row_moments*": {"M"},  # a container of them
}


def signature(prefix, function, ending):
    """The parameters of a function as (type, name), and the struct of its options."""
    (listed,) = re.findall(rf"^{prefix}{function}\((.*?)\){ending} {{", FAMILIES, flags=re.S | re.M)
    taken = re.findall(
        r"(?:const )?([\w:]+)(?:<(?:X|Element<X>)>)?&{0,2} (\w+)(?: = {})?(?:, |$)",
        " ".join(listed.split()),
    )
    assert ", ".join(taken[-1]).endswith(("options", "o"))
    return taken[:-1], taken[-1][0]


def options(struct):
    """The fields of a struct: name -> (type, default)."""
    (body,) = re.findall(rf"^struct {struct} {{\n(.*?)^}};", FAMILIES, flags=re.S | re.M)
    fields = {}
    for line in re.sub(r"//.*", "", body).split(";"):
        if not line.strip():
            continue
        kind, listed = re.fullmatch(
            r"\s*((?:const )?[\w:]+(?:<[^>]*>)?\*?) (\w+ = .*?)\s*", line, flags=re.S
        ).groups()
        for field in re.split(r",\s*(?=\w+ = )", listed):
            name, default = field.split(" = ")
            fields[name] = (re.sub(r"<T>$", "", kind) if "Stat" in kind else kind, default)
    return fields


@each_wrapped
def test_functions_take_what_the_header_declares(function):
    name, view = of_cpp(function), DECLARED[f"{function}_view"]
    positional, struct = signature("Status try_", name, " noexcept")
    fields = options(struct)
    positional = {  # the first, of any type, is what the others are compared with
        text_of(next(iter(arguments_of("Call call", TRIES[name])))[1]) if n == "input" else n: kind
        for kind, n in positional
    }
    given = positional | {field: kind for field, (kind, _) in fields.items()}
    folded = {"dtype", "rank", "shape"} | {n for n in view.names if n.endswith("_strides")}
    assert_none(unequal(f"{function}: takes", set(given), set(view.names) - folded))
    assert_none(
        f"{function}: {n} is {kind}, declared as {view.types[n]}"
        for n, kind in given.items()
        if kind not in C_TYPES[view.types[n]]
    )
    absent = {field for field, (_, default) in fields.items() if default == "nullptr"}
    null = documented(function).null | {"executor", "workspace"}
    assert_none(unequal(f"{function}: is nullptr by default", absent, null))


@each_wrapped
def test_the_throwing_form_takes_the_same(function):
    name = of_cpp(function)
    tried, struct = signature("Status try_", name, " noexcept")
    thrown, other = signature("void ", name, "")
    assert struct == other
    assert [kind for kind, _ in thrown] == [kind for kind, _ in tried]
    assert [n for _, n in thrown][1:] == [n for _, n in tried][1:]
    (body,) = re.findall(rf"^void {name}\(.*?\) {{\n(.*?)^}}", FAMILIES, flags=re.S | re.M)
    ((call,),) = arguments_of("detail::throw_unless_ok", body)
    assert call == f"try_{name}({', '.join([n for _, n in thrown] + ['options'])})"


@each_step
def test_steps_take_what_the_header_declares(function):
    declared = DECLARED[function]
    (listed,) = re.findall(rf"^void {of_cpp(function)}\((.*?)\) {{", STEPS, flags=re.S | re.M)
    given = {p.split(" = ")[0].split()[-1] for p in split(listed)}
    if "Rows shape" in listed:
        given |= {"rows", "cols"}
    if "Tensor shape" in listed:
        given |= {"order", "n", "c", "spatial"}
    assert_none(unequal(f"{function}: takes", given - {"shape"}, set(declared.names) - {"dtype"}))
    absent = {p.split(" = ")[0].split()[-1] for p in split(listed) if p.endswith("= nullptr")}
    null = documented(function).null | {"executor"} | ({"workspace"} & set(declared.names))
    assert_none(unequal(f"{function}: is nullptr by default", absent, null))
