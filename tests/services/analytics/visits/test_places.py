import pytest

from services.analytics.visits.places import Place, host_of, name_of, place_of


class TestPlaceOf:
    def test_of_a_query_the_campaign_alone_is_kept(self) -> None:
        told = "/c/shirts?utm_source=News%20Letter&token=s3cret&utm_medium=EMAIL&utm_campaign=spring&email=ada@example.com#x"

        assert place_of(told) == Place("/c/shirts", "news letter", "email", "spring")

    @pytest.mark.parametrize(
        ("told", "kept"),
        [
            ("", "/"),
            ("shirts", "/shirts"),
            ("https://shop.example/shirts?x=1", "/shirts"),
            ("/blog/how-to-choose-a-good-linen-shirt-in-2026", "/blog/how-to-choose-a-good-linen-shirt-in-2026"),
            ("/orders/65f0c0ffee0ddba11ca7f00d/pay", "/orders/:id/pay"),
            ("/orders/ORD-20261121-000042", "/orders/:id"),
            ("/orders/1000042", "/orders/:id"),
            ("/u/3f1f8a52-6f5e-4d0e-9c43-0d2b7f7f3c11", "/u/:id"),
            ("/reset/q0Jx5cVbT2mN8rLw", "/reset/:id"),
            ("/unsubscribe/ada%40example.com", "/unsubscribe/:id"),
            ("//evil.example/x", "/x"),
            ("http://[", "/"),
            ("/" + "x" * 500, "/" + "x" * 199),
        ],
    )
    def test_path_holds_nothing_that_was_somebodys(self, told: str, kept: str) -> None:
        assert place_of(told) == Place(kept)


class TestHostOf:
    @pytest.mark.parametrize(
        ("referrer", "host"),
        [
            ("https://www.Search.example/?q=my+illness", "search.example"),
            ("https://ada:secret@blog.example:8443/a", "blog.example"),
            ("android-app://com.example.app/", "com.example.app"),
            ("https://shop.example/cart", ""),
            ("https://www.shop.example/cart", ""),
            ("", ""),
            ("nonsense", ""),
            ("http://[", ""),
            ("https://" + "a" * 120, ""),
            ("https://a$b/", ""),
        ],
    )
    def test_of_a_referrer_the_host_of_another_site_is_kept(self, referrer: str, host: str) -> None:
        assert host_of(referrer, own={"shop.example"}) == host


class TestNameOf:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("  Linen\t SHIRT ", "linen shirt"),
            ("ﬁne", "fine"),
            ("size 42", "size 42"),
            ("ada@example.com", ""),
            ("call +49 170 123 45 67", ""),
            ("4111 1111 1111 1111", ""),
            ("x" * 100, "x" * 60),
            ("", ""),
        ],
    )
    def test_texts_are_folded_and_what_may_be_personal_is_left_out(self, text: str, name: str) -> None:
        assert name_of(text) == name
