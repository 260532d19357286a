"""What visitors do, and how often: alike in the simulated world and under the load of `make stress`.

Chances are of those who come that far; tuples and weights are what dice choose from.
"""

from models.ecommerce.orders import PaymentMethod

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

# Of all visits
ARE_KNOWN = 0.5  # by people with an account
READ = 0.35
SEARCH = 0.3
LOOKED_AT = (1, 1, 2, 3, 4)  # products
SHOP = 0.45

# Readers
SEARCH_POSTS = 0.15
LATEST = 12  # the posts that are read
COMMENT = 0.2
LIKE = 0.35
FOLLOW = 0.12

# Shoppers
JOIN = 0.55  # of strangers
PIECES = (1, 1, 1, 2, 3)
TRY_CODE = 0.3
LEAVE_CART = 0.35
METHODS = {PaymentMethod.CARD: 88, PaymentMethod.BANK_TRANSFER: 6, PaymentMethod.INVOICE: 6}
