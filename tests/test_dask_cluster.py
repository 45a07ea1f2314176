"""normkernels.dask on threads and on a cluster: the same bits, and within the workers' memory."""

import numpy as np
import pytest

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")
zarr = pytest.importorskip("zarr")

import normkernels.dask as nkd  # noqa: E402
from conftest import normal  # noqa: E402
from dask_cases import CUTS, SHAPE  # noqa: E402

LIMIT = 256 << 20  # bytes of a worker, of which Python, Dask and Zarr take half
DEPTH = 512
pytestmark = pytest.mark.filterwarnings("default")  # what a cluster has to say is not ours


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Two processes whose memory is limited, and which are to keep it without writing to disk."""
    settings = {
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": 0.95,
        "distributed.worker.memory.terminate": 1.0,
        "distributed.nanny.environ.MALLOC_TRIM_THRESHOLD_": 0,
    }
    local = str(tmp_path_factory.mktemp("workers"))
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=LIMIT,
            dashboard_address=None,
            local_directory=local,
            protocol="tcp",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def results():
    """Everything that is added over chunks, of an x that is cut everywhere."""
    x = da.from_array(normal(SHAPE, np.float32, mean=100.0), chunks=CUTS["all"])
    dy = da.from_array(normal(SHAPE, np.float32, seed=1), chunks=CUTS["all"])
    return [
        *nkd.instance_norm(x, return_stats=True),
        *nkd.group_norm(x, 3, return_stats=True),
        *nkd.layer_norm(x, return_stats=True),
        *nkd.rms_norm_backward(dy, x, axis=1),
        *nkd.group_norm_backward(dy, x, 3),
        nkd.local_response_norm(x, 6),
    ]


def test_the_same_bits_wherever_tasks_run(client):
    with dask.config.set(scheduler="synchronous"):
        wanted = [a.tobytes() for a in dask.compute(*results())]
    with dask.config.set(scheduler="threads", num_workers=4):
        assert [a.tobytes() for a in dask.compute(*results())] == wanted
    assert [a.tobytes() for a in client.gather(client.compute(results()))] == wanted
    # Some by themselves, from the last one on: in quite another order.
    for lazy, a in list(zip(results(), wanted, strict=True))[::-5]:
        assert client.compute(lazy).result().tobytes() == a


def test_chunks_that_workers_hold_stay_theirs(client):
    x = da.random.default_rng(0).standard_normal((2, 8, 16), chunks=(2, 4, 8))
    there = x.persist()
    for recompute in (None, True, False):
        for part in (slice(None), slice(3, None)):
            y = nkd.layer_norm(there[:, part], recompute=recompute).compute()
            wanted = nkd.layer_norm(x[:, part]).compute(scheduler="synchronous")
            assert y.tobytes() == wanted.tobytes()


def peak(dask_worker):
    """The most memory that the worker's process had, in bytes. getrusage would count that of the
    process that started it, too."""
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


@pytest.fixture
def volume(tmp_path):
    """On disk, twice the memory of both workers: chunks of 8 MiB, most of which are one number, so
    that the disk has little to do."""
    path = str(tmp_path / "x.zarr")
    shape, chunks = (1, 2, DEPTH, 512, 512), (1, 1, 32, 256, 256)
    x = zarr.create_array(path, shape=shape, chunks=chunks, dtype="float32", fill_value=2.5)
    assert x.nbytes == 4 * LIMIT
    for channel in range(2):
        x[0, channel, :8] = normal((8, 512, 512), np.float32, seed=channel, mean=1e4)
    return path


def test_more_than_memory_from_disk_to_disk(client, volume, tmp_path):
    x = da.from_zarr(volume)
    workers = set(client.scheduler_info()["workers"])
    path = str(tmp_path / "y.zarr")
    y = nkd.instance_norm(x, return_stats=True)
    futures = client.compute([y.y.to_zarr(path, compute=False), y.mean])
    distributed.wait(futures, timeout=240)  # workers that were full would pause
    mean = futures[1].result()
    assert set(client.scheduler_info()["workers"]) == workers  # none was restarted
    for worker, most in client.run(peak).items():
        assert most < LIMIT, worker
    written = zarr.open_array(path)[0, 0, :9]
    rows = np.asarray(zarr.open_array(volume)[0, 0, :9], np.float64)
    count, rest = DEPTH * 512 * 512, (DEPTH - 8) * 512 * 512
    exact_mean = (rows[:8].sum() + 2.5 * rest) / count
    np.testing.assert_allclose(mean[0, 0], exact_mean, rtol=1e-6)
    squares = np.square(rows[:8] - exact_mean).sum() + rest * (2.5 - exact_mean) ** 2
    sigma = np.sqrt(squares / count + 1e-5)
    np.testing.assert_allclose(written, (rows - exact_mean) / sigma, rtol=1e-6, atol=1e-6)
