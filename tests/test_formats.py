# SPDX-License-Identifier: BSD-3-Clause
"""Readers of files: what they give, in every layout a format has, and what they refuse."""

import pickle

import numpy as np
import pytest
from files import MAPPED, SUFFIXES, TABLES, fixed_lists, save, save_table, table
from gaussians import EVERY, gaussian
from program import prepared, score

import gkl
from gkl import formats
from gkl.formats.column import Column
from gkl.stored import DataError

KINDS = tuple(SUFFIXES)


def both(p, q):
    return {**p.parameters, **{f"prior_{name}": x for name, x in q.parameters.items()}}


def check(found, wanted):
    """The same parameters in the same types, whole and by slices in any order."""
    assert list(found.parameters) == list(wanted)
    assert found.shape == wanted["mean"].shape
    n = len(wanted["mean"])
    for name, x in wanted.items():
        column = found.parameters[name]
        assert column.dtype == x.dtype
        for part in (slice(0, n), slice(3, 5), slice(6, 20), slice(20, 21), slice(1, 8)):
            np.testing.assert_array_equal(np.asarray(column[part]), x[part])
        again = pickle.loads(pickle.dumps(column))
        np.testing.assert_array_equal(np.asarray(again[5:9]), x[5:9])
        np.testing.assert_array_equal(np.asarray(column), x)


@pytest.mark.parametrize("parameter", EVERY)
@pytest.mark.parametrize("kind", KINDS)
def test_parameters(tmp_path, kind, parameter):
    p, q = gaussian(parameter, (23,), dtype=np.float32), gaussian("std", (23,), seed=1)
    path = tmp_path / save(tmp_path, kind, both(p, q))
    found, prior = formats.read(str(path))
    check(found, p.parameters)
    check(prior, q.parameters)
    assert formats.read(str(path), with_prior=False)[1] is None


@pytest.mark.parametrize("kind", KINDS)
def test_scores(run, tmp_path, kind):
    p, q = gaussian("logvar", (23,)), gaussian("cov", (23,), seed=1)
    name = save(tmp_path, kind, both(p, q))
    report = score(run, name, "-o", "kl.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), gkl.kl(p, q))
    assert report["source"] == name


@pytest.mark.parametrize("kind", [x for x in KINDS if x not in TABLES])
def test_a_shared_prior_and_deeper_batches(run, tmp_path, kind):
    p, q = gaussian("var", (9, 3)), gaussian("tril")
    score(run, save(tmp_path, kind, both(p, q)), "-o", "kl.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), gkl.kl(p, q))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1", "i8", "?"])
@pytest.mark.parametrize("kind", KINDS)
def test_types(tmp_path, kind, dtype):
    x = np.arange(46).reshape(23, 2).astype(dtype)
    path = tmp_path / save(tmp_path, kind, {"mean": x, "var": np.ones_like(x)})
    check(formats.read(str(path))[0], {"mean": x, "var": np.ones_like(x)})


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows(run, tmp_path, kind):
    empty = np.zeros((0, 4), np.float32)
    report = score(run, save(tmp_path, kind, {"mean": empty, "var": empty}))
    assert (report["count"], report["dim"]) == (0, 4)


@pytest.mark.parametrize("kind", MAPPED)
def test_what_is_mapped_is_not_copied(tmp_path, kind):
    p = gaussian("var", (23,))
    found, _ = formats.read(str(tmp_path / save(tmp_path, kind, p.parameters)))
    for column in found.parameters.values():
        part = column[1:6]
        assert not part.flags.owndata
        assert not part.flags.writeable
        one, other = (x.__array_interface__["data"][0] for x in (part, column[2:6]))
        assert other - one == part.strides[0]


def test_bfloat16_of_safetensors(run, tmp_path):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    p = gaussian("logvar", (23,))
    p = gkl.DiagNormal(p.mean.astype(bfloat16), logvar=p.logvar.astype(bfloat16))
    report = score(run, save(tmp_path, "safetensors", p.parameters), "-o", "kl.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), gkl.kl(p))
    assert report["dtype"] == "bfloat16"


def test_safetensors_of_its_library(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    p = gaussian("cov", (23,), dtype=np.float32)
    library.save_file(p.parameters, str(tmp_path / "x.safetensors"), {"by": "its library"})
    check(formats.read(str(tmp_path / "x.safetensors"))[0], p.parameters)


def test_hdf5_and_zarr_by_whole_chunks(tmp_path, monkeypatch):
    from gkl import score as scoring

    monkeypatch.setattr(scoring, "CHUNK", 100)
    p = gaussian("var", (23,))  # 8 numbers a row
    for kind, rows in (("hdf5", 7), ("zarr3", 7), ("npz", 12)):
        found, _ = formats.read(str(tmp_path / save(tmp_path, kind, p.parameters)))
        assert scoring.rows_at_a_time(found, None, (23,)) == rows


# ---------------------------------------------------------------- tables


def nested(x):
    """Lists of any length, which all happen to have the same."""
    import pyarrow as pa

    return pa.array(x.tolist())


def large(x):
    import pyarrow as pa

    return pa.array(x.tolist(), pa.large_list(pa.float64()))


def flat(x):
    return fixed_lists(x.reshape(len(x), -1))


def in_chunks(x):
    """Slices of longer arrays, as filters and joins leave them."""
    import pyarrow as pa

    more = fixed_lists(np.concatenate([x[:2] + 1, x, x[:3] + 1]))
    return pa.chunked_array([more.slice(2, 10), more.slice(12, 0), more.slice(12, len(x) - 10)])


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("convert", [nested, large, flat, in_chunks])
@pytest.mark.parametrize("parameter", ["var", "cov", "low_rank"])
def test_lists(tmp_path, kind, convert, parameter):
    pytest.importorskip("pyarrow")
    if convert is large and parameter != "var":
        pytest.skip("vectors only")
    p = gaussian(parameter, (23,))
    written = table(p.parameters, convert)
    path = tmp_path / ("x" + SUFFIXES[kind])
    write(kind, path, written, 5)
    check(formats.read(str(path))[0], p.parameters)


def write(kind, path, table, rows=None):
    if kind == "parquet":
        pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=rows)
    elif kind == "arrow":
        save_table(path, table, rows)
    else:
        pytest.importorskip("pyarrow.feather").write_feather(table, str(path), chunksize=rows)


@pytest.mark.parametrize("kind", TABLES)
def test_numbers_are_vectors_of_one(run, tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    mean, var = np.arange(23.0), np.arange(1.0, 24)
    write(kind, tmp_path / "x", pa.table({"mean": mean, "var": var}))
    report = score(run, "x", "-o", "kl.npy")  # known by its first bytes
    wanted = gkl.kl(gkl.DiagNormal(mean[:, None], var=var[:, None]))
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), wanted)
    assert report["dim"] == 1


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize(
    ("column", "words"),
    [
        ([[1.0, 2], [3, 4], None, [5, 6]], "x: var is null in row 2"),
        ([[1.0, 2], [3, 4], [3, 4], [5, None]], "x: var is null in row 3"),
        ([[1.0, 2], [3, 4], [3, 4], [5]], "var has lists of different lengths: 2 and 1 in row 3"),
        ([["a", "b"]] * 4, "x: var has type string; real numbers or lists of them are wanted"),
        ([[1.0, 2, 3]] * 4, "mean and var do not fit"),
        (["1"] * 4, "x: var has type string"),
    ],
)
def test_wrong_columns(run, tmp_path, kind, column, words):
    pa = pytest.importorskip("pyarrow")
    write(kind, tmp_path / "x", pa.table({"mean": [[0.0, 0.0]] * 4, "var": column}), 3)
    assert words in run("score", "x", "-o", "kl.npy", code=1)
    assert not (tmp_path / "kl.npy").exists()


@pytest.mark.parametrize("kind", TABLES)
def test_lists_that_make_no_matrix(run, tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    for name, words in (("cov", "5 numbers, which do not make a square"),
                        ("factor", "5 numbers, which do not make 2 rows")):  # fmt: skip
        columns = {"mean": [[0.0, 0.0]] * 4, name: [[1.0] * 5] * 4}
        if name == "factor":
            columns["var"] = [[1.0, 1.0]] * 4
        write(kind, tmp_path / "x", pa.table(columns))
        assert words in run("score", "x", code=1)


def test_a_folder_of_parquet(run, tmp_path):
    p = gaussian("logvar", (23,))
    (tmp_path / "parts").mkdir()
    for i, part in enumerate((slice(0, 9), slice(9, 9), slice(9, 23))):
        arrays = {name: x[part] for name, x in p.parameters.items()}
        save(tmp_path / "parts", "parquet", arrays, f"{i}", rows=4)
    (tmp_path / "parts" / "_SUCCESS").write_text("")
    check(formats.read(str(tmp_path / "parts"))[0], p.parameters)
    score(run, "parts", "-o", "kl.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), gkl.kl(p))
    save(tmp_path / "parts", "parquet", {"mean": p.mean, "var": p.mean**2}, "9")
    assert "9.parquet: has another schema than" in run("score", "parts", code=1)
    (tmp_path / "parts" / "9.parquet").write_bytes(b"PAR1")
    assert "9.parquet: truncated or damaged" in run("score", "parts", code=1)


# ---------------------------------------------------------------- files that are wrong


FILES = [x for x in KINDS if not x.startswith("zarr")]


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, -1])
@pytest.mark.parametrize("kind", FILES)
def test_truncated(run, tmp_path, kind, keep):
    p = gaussian("logvar", (2300,))
    path = tmp_path / save(tmp_path, kind, p.parameters, rows=700)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if keep == 0.5 else keep])
    assert f"error: {path.name}: " in run("score", path.name, "-o", "kl.npy", code=1)
    assert not (tmp_path / "kl.npy").exists()


@pytest.mark.parametrize("kind", ["zarr2", "zarr3"])
def test_damaged_zarr(run, tmp_path, kind):
    path = tmp_path / save(tmp_path, kind, gaussian("var", (23,)).parameters)
    chunk = max((x for x in path.rglob("*") if x.is_file() and "json" not in x.name
                 and not x.name.startswith(".z")), key=str)  # fmt: skip
    chunk.write_bytes(chunk.read_bytes()[:20])
    assert "x.zarr: truncated or damaged" in run("score", "x.zarr", code=1)
    for x in (path / "mean").iterdir():
        if "json" in x.name or x.name.startswith(".z"):
            x.write_text("{")
    assert "error: x.zarr: " in run("score", "x.zarr", code=1)


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_are_wrong(run, tmp_path, kind):
    x = np.ones((5, 3))
    for i, (arrays, words) in enumerate((
        ({"var": x}, "no mean in it"),
        ({"mean": x}, "is wanted, and it has none"),
        ({"mean": x, "var": x, "std": x}, "it has var and std"),
        ({"mean": x, "var": x, "prior_var": x}, "no prior_mean in it"),
    )):  # fmt: skip
        name = save(tmp_path, kind, arrays, f"x{i}")
        message = run("score", name, code=1)
        assert f"{name}: " in message
        assert words in message


def test_wrong_headers_of_safetensors(run, tmp_path):
    import json

    good = {"dtype": "F32", "shape": [5, 3], "data_offsets": [0, 60]}
    for change, words in (
        ({"dtype": "F8_E4M3"}, "mean has dtype F8_E4M3"),
        ({"shape": [5, 4]}, "mean has 60 bytes for shape (5, 4)"),
        ({"shape": [-5, -3]}, "damaged: mean"),
        ({"data_offsets": [4, 64]}, "truncated: mean ends at"),
        ({"data_offsets": "xy"}, "truncated or damaged"),
    ):
        text = json.dumps({"mean": good | change, "var": good}).encode()
        data = len(text).to_bytes(8, "little") + text + bytes(60)
        (tmp_path / "x.safetensors").write_bytes(data)
        assert words in run("score", "x.safetensors", code=1)


def test_groups_where_arrays_should_be(run, tmp_path):
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_group("mean")
        file["var"] = h5py.Empty("f4")
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    group.create_group("mean")
    group.create_group("var")
    assert "x.h5: mean is not a dataset" in run("score", "x.h5", code=1)
    assert "x.zarr: mean is not an array" in run("score", "x.zarr", code=1)


def test_bad_items_are_named_as_of_an_archive(run, tmp_path):
    p, q = gaussian("var", (23,)), gaussian("cov", (23,), seed=1)
    p.var[[17, 20], 3] = -1
    q.cov[21, 2, 2] = np.nan
    for kind in KINDS:
        if kind not in TABLES or pytest.importorskip("pyarrow"):
            message = run("score", save(tmp_path, kind, both(p, q)), code=1)
            assert "3 of 23 Gaussians are invalid; first: p.var[17, 3] = -1.0 is not" in message
    p.var[:] = 1
    message = run("score", save(tmp_path, "npz", both(p, q)), code=1)
    assert "q.cov[21, 2, 2] = nan is not finite" in message


@pytest.mark.parametrize(("kind", "module"), [("parquet", "pyarrow"), ("arrow", "pyarrow"),
                                              ("zarr3", "zarr"), ("hdf5", "h5py")])  # fmt: skip
def test_a_package_that_is_missing(run, tmp_path, kind, module):
    name = save(tmp_path, kind, gaussian("var", (23,)).parameters)
    extra = {"pyarrow": "arrow", "h5py": "hdf5"}.get(module, module)
    without = prepared(f"import sys; sys.modules['{module}'] = None")
    message = run("score", name, code=1, program=without)
    assert f"{name}: wants {module}, which is not installed: pip install 'gkl[{extra}]'" in message


def test_nothing_is_imported_that_is_not_needed(run, tmp_path):
    name = save(tmp_path, "npz", gaussian("var", (23,)).parameters)
    names = "pyarrow", "zarr", "h5py", "dask", "distributed"
    check = "import atexit; atexit.register(lambda: "
    check += f"print([x for x in {names} if x in sys.modules]))"
    assert run("score", name, program=prepared(check)).endswith("[]\n")


def test_nearest_keeps_to_archives(run, tmp_path):
    name = save(tmp_path, "safetensors", gaussian("var", (23,)).parameters)
    message = run("nearest", name, "--out", "nn.npz", code=1)
    assert f"{name}: not an .npz archive but safetensors" in message


@pytest.mark.parametrize("order", ["C", "F"])
def test_columns_of_npy_files(tmp_path, order):
    x = np.asarray(np.arange(60.0).reshape(20, 3), order=order)
    np.save(tmp_path / "x.npy", x)
    path = str(tmp_path / "x.npy")
    columns = formats.map_npy({"mean": path, "var": path}).parameters
    assert all(isinstance(column, Column) for column in columns.values())
    room = np.empty((7, 3))
    for start, stop in ((0, 7), (7, 14), (14, 20)):
        part = columns["var"].read(start, stop, room)
        np.testing.assert_array_equal(part, x[start:stop])
        assert np.shares_memory(part, room)


def test_a_folder_is_not_written_into(run, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "parts").mkdir()
    save(tmp_path / "parts", "parquet", gaussian("var", (5,)).parameters)
    before = {path: path.read_bytes() for path in (tmp_path / "parts").iterdir()}
    for output in (next(iter(before)), tmp_path / "parts" / "new.parquet"):
        assert "--output is within an input: parts" in run("score", "parts", "-o", output, code=2)
    assert {path: path.read_bytes() for path in (tmp_path / "parts").iterdir()} == before
    assert "--output is empty" in run("score", "parts", "-o", "", code=2)


def test_parquet_that_is_replaced_while_it_is_read(tmp_path):
    pytest.importorskip("pyarrow")
    p = gaussian("var", (5,))
    path = tmp_path / save(tmp_path, "parquet", p.parameters)
    found, _ = formats.read(str(path))
    save(tmp_path, "parquet", gaussian("var", (6,)).parameters)
    with pytest.raises(DataError, match="has changed while it was read"):
        found.rows(1, 0, 5)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_two_columns_of_one_name(run, tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(6)), 3)
    table = pa.table([column] * 3, names=["mean", "mean", "var"])
    write(kind, tmp_path / "x", table)
    assert "has more than one column mean" in run("score", "x", code=1)


def test_words_for_sound_files_that_will_not_do(run, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "none.parquet").mkdir()
    assert "a folder without files of Parquet" in run("score", "none.parquet", code=1)
    p = gaussian("var", (3, 0))
    np.savez(tmp_path / "none.npz", **p.parameters)
    message = run("score", "none.npz", "-o", "none2.parquet", code=1)
    assert "a batch of shape (3, 0) cannot be written as Parquet" in message
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        layout = h5py.VirtualLayout((4, 3), "f8")
        layout[:] = h5py.VirtualSource("elsewhere.h5", "mean", (4, 3))
        file.create_virtual_dataset("mean", layout)
        file["var"] = np.ones((4, 3))
    assert "mean is of elsewhere.h5, which is not there" in run("score", "v.h5", code=1)
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    for name, x in gaussian("var", (5,)).parameters.items():
        group.create_array(name, data=x)
    (tmp_path / "x.zarr" / "README.txt").write_text("of these")
    assert "Gaussians   5" in run("score", "x.zarr")
