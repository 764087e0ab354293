import os
import stat
from pathlib import Path

import pytest

from app.embedded import data_folder
from app.embedded.data_folder import DataFolder
from app.embedded.errors import CannotStart


def test_a_new_folder_gets_its_layout_and_a_master_key_of_mode_600(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path / "a b" / "data")
    assert folder.ensure_master_key()
    assert not folder.ensure_master_key()
    assert stat.S_IMODE(folder.master_key.stat().st_mode) == 0o600
    assert len(bytes.fromhex(folder.master_key.read_text())) == 32
    assert {path.name for path in folder.path.iterdir()} == {"lock", "db", "keys", "broker", "logs"}
    folder.close()


def test_a_master_key_that_others_could_read_is_closed(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    folder.ensure_master_key()
    folder.master_key.chmod(0o644)
    folder.ensure_master_key()
    assert stat.S_IMODE(folder.master_key.stat().st_mode) == 0o600
    folder.close()


def test_a_key_store_without_its_master_key_is_refused(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    folder.key_store.write_bytes(b"wrapped keys")
    with pytest.raises(CannotStart, match="is missing, and without it nothing"):
        folder.ensure_master_key()
    folder.close()


def test_a_folder_in_use_is_refused_until_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "LOCK_PATIENCE_S", 0.0)
    first = DataFolder.open(tmp_path)
    with pytest.raises(CannotStart, match=rf"already in use by another Idiolect \(process {os.getpid()}\)"):
        DataFolder.open(tmp_path)
    first.close()
    DataFolder.open(tmp_path).close()


def test_an_almost_full_disk_is_refused_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "FREE_FLOOR_BYTES", 2**60)
    with pytest.raises(CannotStart, match=r"almost full: \d+ MB are free and \d+ MB are needed"):
        DataFolder.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotStart, match=r"cannot use .*file.* as part of the data folder: Not a directory"):
        DataFolder.open(tmp_path / "file" / "data")


def test_of_a_new_folder_that_nothing_was_put_into_nothing_is_left(tmp_path: Path) -> None:
    DataFolder.open(tmp_path / "a" / "data").close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_or_holds_something_stays(tmp_path: Path) -> None:
    (there := tmp_path / "there").mkdir()
    DataFolder.open(there).close()
    assert there.is_dir()
    folder = DataFolder.open(tmp_path / "kept")
    folder.ensure_master_key()
    folder.close()
    assert folder.master_key.exists()
    again = DataFolder.open(tmp_path / "kept")
    assert not again.ensure_master_key()
    again.close()


def test_a_full_disk_gets_no_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "FREE_FLOOR_BYTES", 2**60)
    with pytest.raises(CannotStart):
        DataFolder.open(tmp_path / "a" / "data")
    assert list(tmp_path.iterdir()) == []
