import pytest

pytest.register_assert_rewrite("tests.conformance.ledger", "tests.conformance.ways")
