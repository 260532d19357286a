import pytest

from services.settings import Settings
from services.users.passwords import UNUSABLE_HASH, PasswordService, WeakPasswordError, _common_passwords


class TestCheckPolicy:
    @pytest.mark.parametrize(
        "password",
        ["12345678", "abcdefgh" * 32, "correct horse battery", "ünïcödé x", "        ", "no-digits-no-upper", "密码密码密码密码"],
    )
    def test_s5_any_characters_from_8_to_256_will_do(self, password: str) -> None:
        if password == "12345678":
            with pytest.raises(WeakPasswordError):
                PasswordService.check_policy(password, username="jane", email="jane@example.com")
        else:
            PasswordService.check_policy(password, username="jane", email="jane@example.com")

    @pytest.mark.parametrize(
        "password",
        [
            "",
            "seven77",
            "x" * 257,
            "Password1",
            "QWERTYUIOP",
            "jane-doe-1",
            "JANE-DOE-1",
            "jdoe.office",
            "jdoe.office@example.com",
        ],
    )
    def test_s5_short_long_common_and_own_names_will_not(self, password: str) -> None:
        with pytest.raises(WeakPasswordError) as refused:
            PasswordService.check_policy(password, username="jane-doe-1", email="jdoe.office@example.com")
        assert password == "" or password not in refused.value.detail

    def test_length_counts_after_normalisation(self) -> None:
        decomposed = "e\u0301" * 7
        assert len(decomposed) == 14
        with pytest.raises(WeakPasswordError):
            PasswordService.check_policy(decomposed, username="jane", email="jane@example.com")

    def test_at_least_three_thousand_common_ones_are_known(self) -> None:
        known = _common_passwords()
        assert len(known) >= 3000
        assert all(len(word) >= 8 and word == word.casefold() for word in known)


class TestVerify:
    async def test_usr_s6_argon2id_with_a_salt_each(self, settings: Settings) -> None:
        """The sources used bare SHA-256, or nothing."""
        one, two = [await PasswordService.hash("correct horse", settings=settings) for _ in range(2)]
        assert one.startswith("$argon2id$")
        assert one != two
        assert (await PasswordService.verify("correct horse", one, settings=settings)).is_right
        assert not (await PasswordService.verify("correct Horse", one, settings=settings)).is_right

    async def test_composed_and_decomposed_letters_are_one(self, settings: Settings) -> None:
        stored = await PasswordService.hash("caf\u00e9 au lait", settings=settings)
        assert (await PasswordService.verify("cafe\u0301 au lait", stored, settings=settings)).is_right

    @pytest.mark.parametrize("stored", [None, UNUSABLE_HASH, "", "plain text", "5f4dcc3b5aa765d61d8327deb882cf99"])
    async def test_without_a_usable_hash_no_password_is_right(self, stored: str | None, settings: Settings) -> None:
        for password in ("", "plain text", "password", UNUSABLE_HASH):
            assert not (await PasswordService.verify(password, stored, settings=settings)).is_right

    async def test_an_older_cost_is_renewed(self, settings: Settings) -> None:
        stored = await PasswordService.hash("correct horse", settings=settings)
        assert (await PasswordService.verify("correct horse", stored, settings=settings)).new_hash is None
        dearer = settings.model_copy(update={"password_hash_time_cost": 2})
        verdict = await PasswordService.verify("correct horse", stored, settings=dearer)
        assert verdict.new_hash is not None
        assert (await PasswordService.verify("correct horse", verdict.new_hash, settings=dearer)).is_right
