"""Give a product a category by the words of its description."""

from __future__ import annotations

import re
from functools import lru_cache

OTHER = "Other"

# The first category with a word in the description wins: the narrow ones stand first.
KEYWORDS = {
    "Postage & fees": "POSTAGE CARRIAGE FEE FEES BANK CHARGES MANUAL DISCOUNT COMMISSION SAMPLES VOUCHER",
    "Christmas": "CHRISTMAS XMAS ADVENT SANTA REINDEER BAUBLE SNOWFLAKE NATIVITY",
    "Jewellery": "NECKLACE BRACELET EARRING EARRINGS RING BROOCH JEWELLERY BANGLE PENDANT HAIRCLIP",
    "Candles & lights": "CANDLE T-LIGHT TLIGHT LIGHT LANTERN LAMP CHANDELIER CANDLESTICK INCENSE",
    "Bags": "BAG SHOPPER RUCKSACK PURSE HANDBAG SATCHEL BACKPACK",
    "Stationery": (
        "CARD WRAP NOTEBOOK PENCIL PEN JOURNAL RIBBON TAG STICKER PAPER ERASER ENVELOPE CHALK TAPE SCRAPBOOK"
    ),
    "Kitchen": (
        "CAKE CAKESTAND MUG CUP TEA TEACUP PLATE BOWL JUG SPOON KITCHEN BAKING NAPKIN TEAPOT "
        "LUNCH BOTTLE EGG JAM RECIPE COFFEE CUTLERY TRAY OVEN APRON PANTRY COASTER TEATOWEL CASES "
        "TOWEL GLASS"
    ),
    "Toys": (
        "TOY DOLL GAME PUZZLE CHILDREN CHILDRENS JIGSAW SKIPPING BALLOON PLAYHOUSE SPACEBOY "
        "DOMINO SOLDIER SKITTLES DINOSAUR TEDDY"
    ),
    "Garden": "GARDEN PLANT FLOWER WATERING BIRD HERB PARASOL SEED TROWEL BIRDHOUSE POT PICNIC",
    "Home": (
        "FRAME CLOCK CUSHION MIRROR DOORMAT HOOK DRAWER KNOB CABINET HEART SIGN BOX TIN BUNTING "
        "HANGER CUSHIONS VASE DECORATION STOOL CHAIR TABLE SHELF HOLDER BASKET WICKER STORAGE "
        "DOORSTOP QUILT BATHROOM"
    ),
}

_PATTERNS = {
    category: re.compile(rf"\b(?:{'|'.join(map(re.escape, words.split()))})S?\b")
    for category, words in KEYWORDS.items()
}


@lru_cache(maxsize=20_000)
def category_of(description: str) -> str:
    """The category of a description; `Other` when no keyword is in it."""
    text = description.upper()
    return next((category for category, words in _PATTERNS.items() if words.search(text)), OTHER)
