import pytest
from beanie import PydanticObjectId

from services.settings import Settings
from services.users.identity import (
    InvalidEmailError,
    InvalidUsernameError,
    UsernameTakenError,
    choose_username,
    normalize_email,
    normalize_username,
)
from services.users.tokens import device_token, known_device, mail_token, new_device_id


class TestNormalizeUsername:
    @pytest.mark.parametrize(("text", "expected"), [("Bob", "bob"), ("a_b-9", "a_b-9"), ("x" * 50, "x" * 50), ("---", "---")])
    def test_it_is_lower_case(self, text: str, expected: str) -> None:
        assert normalize_username(text) == expected

    @pytest.mark.parametrize(
        "text", ["", "ab", "x" * 51, "jané", "b\u043eb", "\u212aelvin", "a b", "bob\n", "a.b", "$ne", "ｂob", "bob\0"]
    )
    def test_usr_m6_only_ascii_letters_digits_underscore_and_hyphen(self, text: str) -> None:
        """The source's `isalnum` admits every alphabet, and with it look-alikes."""
        with pytest.raises(InvalidUsernameError):
            normalize_username(text)

    @pytest.mark.parametrize("text", ["admin", "ROOT", "support", "deleted-65f0"])
    def test_some_names_are_nobodys(self, text: str) -> None:
        with pytest.raises(UsernameTakenError):
            choose_username(text)


class TestNormalizeEmail:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Jane@Example.COM", "jane@example.com"),
            ("  jane@example.com\n", "jane@example.com"),
            ("\uff2aane@example.com", "jane@example.com"),
            ("jane@b\u00fccher.example", "jane@xn--bcher-kva.example"),
            ("jane@bu\u0308cher.example", "jane@xn--bcher-kva.example"),
            ("j.a.n.e+tag@example.com", "j.a.n.e+tag@example.com"),
        ],
    )
    def test_spellings_become_one(self, text: str, expected: str) -> None:
        assert normalize_email(text).normalized == expected
        assert normalize_email(expected).normalized == expected

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "jane",
            "@example.com",
            "jane@",
            "a b@example.com",
            "jane@localhost",
            "jane@example.com\r\nBcc: x@example.com",
            "\ud800@example.com",
            "x" * 250 + "@example.com",
            "jane@exa\0mple.com",
        ],
    )
    def test_what_is_no_address_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidEmailError):
            normalize_email(text)


class TestTokens:
    def test_a_mailed_token_is_bound_to_id_and_purpose(self, settings: Settings) -> None:
        one, two = PydanticObjectId(), PydanticObjectId()
        tokens = {mail_token(purpose, id, settings=settings) for purpose in ("verify", "password_reset") for id in (one, two)}
        assert len(tokens) == 4
        assert mail_token("verify", one, settings=settings) in tokens
        assert all(len(token) >= 32 and token.isascii() for token in tokens)

    def test_a_device_token_is_bound_to_its_person(self, settings: Settings) -> None:
        jane, mallory, device = PydanticObjectId(), PydanticObjectId(), new_device_id()
        token = device_token(jane, device, settings=settings)
        assert known_device(token, jane, settings=settings) == device
        for forged in (None, "", ".", "\u00e9", f"{device}.x", token + "x", device_token(mallory, device, settings=settings)):
            assert known_device(forged, jane, settings=settings) is None
