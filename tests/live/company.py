"""The phones of the sample company (controller/schema/sample/acme.yaml)."""

from tests.live.phones import Phone

DESK1 = Phone("desk1", "acme.example", "alice-desk-secret", port=5101, voice=17)
APP1 = Phone("app1", "acme.example", "alice-app-secret", port=5102, voice=18)
BOB = Phone("bob", "acme.example", "bob-phone-secret", port=5103, voice=19)
CAROL = Phone("carol", "acme.example", "carol-phone-secret", port=5104, voice=20)
LOBBY = Phone("lobby", "acme.example", "lobby-phone-secret", port=5105, voice=21)
DAVE = Phone("dave", "globex.example", "dave-phone-secret", port=5106, voice=22)
ERIN = Phone("erin", "globex.example", "erin-phone-secret", port=5107, voice=23)

# A carrier is one address and one port; which number it shows is the scenario's matter.
CARRIER = Phone("carrier", "carrier.example", port=5060, voice=31)
# What carrier-b asks who calls for; keys of `answer`.
SIGNED = {"login": "dialplane", "secret": "carrier-b-secret", "realm": "carrier-b.example"}
EVERYONE = (DESK1, APP1, BOB, CAROL, LOBBY, DAVE, ERIN)

# All telephones have one address, and fail and call more in an hour than a company does in a month.
PHONES = "10.213.0.40"
NOT_FRAUD = f"INSERT INTO fraud_allows (source, reason) VALUES ('{PHONES}', 'tests') ON CONFLICT DO NOTHING;"
