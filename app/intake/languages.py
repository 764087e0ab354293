"""What language a text looks to be in: by its script, and in Latin script by its commonest short words.

Enough to say that a piece is not in the language of the rest, or not in the base model's; no more is claimed.
Knows no file and no table.
"""

import re
import unicodedata
from collections import Counter

NAMES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "sv": "Swedish",
    "da": "Danish",
    "no": "Norwegian",
    "fi": "Finnish",
    "pl": "Polish",
    "cs": "Czech",
    "hu": "Hungarian",
    "ro": "Romanian",
    "tr": "Turkish",
    "id": "Indonesian",
    "vi": "Vietnamese",
    "ru": "Russian",
    "uk": "Ukrainian",
    "bg": "Bulgarian",
    "sr": "Serbian",
    "el": "Greek",
    "he": "Hebrew",
    "ar": "Arabic",
    "fa": "Persian",
    "ur": "Urdu",
    "hi": "Hindi",
    "zh": "Chinese",
    "ja": "Japanese",
    "ko": "Korean",
    "th": "Thai",
    "ca": "Catalan",
    "hr": "Croatian",
    "ta": "Tamil",
    "bn": "Bengali",
}
LEAST_WORDS = 20
_LEAST_SHARE = 0.10  # of a text's words that are the language's commonest
_CLEARLY = 2.0  # times as many as of the language that was expected
_LOOKED_AT_CHARS = 6_000
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_COMMON = {
    "en": "the and of to a in that is was it for on with as you i he she they be at by this have from not but what are",
    "de": "der die das und ist nicht ich ein eine zu den mit sich auf dem es für von im auch wie war aber wir sie dass",
    "fr": "le la les de des et un une est que qui dans pour pas je vous nous il elle sur avec au ce du en mais c'est",
    "es": "el la los las de que y en un una es por con no se su para como más pero lo me del al muy está yo porque",
    "it": "il la le di che e un una è per con non si del della sono come ma più nel mi anche lo gli questo ho ci",
    "pt": "o a os as de que e em um uma é não com para se por do da mais mas no na eu me muito ao você como isso",
    "nl": "de het een en van ik dat is niet op te in zijn met voor maar ook aan er was om wij hij ze naar nog wat",
    "sv": "och att det som en är på jag inte för med av den till han har var ett vi men om så hade från när sig",
    "da": "og at det som en er på jeg ikke for med af den til han har var et vi men om så havde fra hvad blev noget",
    "no": "og at det som en er på jeg ikke for med av den til han har var et vi men om så hadde fra hva ble noe",
    "fi": "ja on ei se että hän oli mutta kun minä niin ovat sen myös tai nyt mitä vain joka olen kuin me ole jos",
    "pl": "i w na z się nie to jest że do jak ale o po tak za co od mnie był czy już tego przez go są dla jego",
    "cs": "a se v na je že to s z o do ale jak si tak jsem za by jako po co už jeho nebo jsou byl ve pro když",
    "hu": "a az és hogy nem is egy ez van volt de ha már csak meg mint azt még nagyon én el mert lehet vagy ki",
    "ro": "și de la în a nu o un cu că pe este ce mai din pentru care se sunt am era dar sau fost lui ca să",
    "tr": "ve bir bu da de için ne çok ama ben gibi var daha o değil kadar ile olan sonra mi her ki şey diye",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada ke saya adalah ada juga kami bisa oleh mereka",
    "vi": "và của là có không một những cho được tôi người các với trong này đã cũng khi đó thì như nhưng ra về",
    "ca": "el la els les de i que en un una és per amb no es però més del com va jo molt aquest al seu ho són",
    "hr": "i u na je se da ne su za od što kao ali sam bio nije to iz ili kako samo bi koji sve ovo kad biti",
}
_WORDS = {code: frozenset(words.split()) for code, words in _COMMON.items()}
# The first word of a letter's Unicode name is its script.
_SCRIPTS = {
    "GREEK": "el",
    "HEBREW": "he",
    "DEVANAGARI": "hi",
    "HANGUL": "ko",
    "THAI": "th",
    "TAMIL": "ta",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "zh",
    "CYRILLIC": "ru",
    "ARABIC": "ar",
    "BENGALI": "bn",
}
_LETTERS = {  # of a script, those that only some languages have
    "ru": {"uk": "іїєґ", "sr": "ђјљњћџ"},
    "ar": {"ur": "ٹڈڑں", "fa": "پچژگ"},
}
_LEAST_LETTERS = 0.01
_KANA = 0.1  # of the letters, from which on Chinese characters are Japanese


def language_of(text: str) -> str | None:
    """Its code (ISO 639-1), None where that can't be told: too short, or none of these."""
    shares = _shares(text)
    best = max(shares, key=lambda code: shares[code], default=None)
    return best if best is not None and shares[best] >= _LEAST_SHARE else None


def other_language(text: str, expected: str) -> str | None:
    """The language it looks to be in, if that is clearly not the expected one."""
    shares = _shares(text)
    found = language_of(text)
    if found is None or found == expected or shares[found] < _CLEARLY * shares.get(expected, 0.0):
        return None
    return found


def name_of(code: str) -> str:
    """Its English name, or the code."""
    return NAMES.get(code, code)


def _shares(text: str) -> dict[str, float]:
    """How much of a text speaks for each language, 0 to 1; empty when it is too short."""
    text = text[:_LOOKED_AT_CHARS]
    scripts: Counter[str] = Counter()
    for char, count in Counter(text).items():
        if char.isalpha():
            scripts[unicodedata.name(char, "?").split(" ")[0]] += count
    if scripts["LATIN"] * 2 < scripts.total():
        return _by_script(text.casefold(), scripts)
    words = [word.replace("’", "'") for word in _WORD.findall(text.casefold())]
    if len(words) < LEAST_WORDS:
        return {}
    return {code: sum(word in known for word in words) / len(words) for code, known in _WORDS.items()}


def _by_script(text: str, scripts: Counter[str]) -> dict[str, float]:
    num_letters = scripts.total()
    if num_letters < LEAST_WORDS:
        return {}
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if kana >= _KANA * num_letters:
        return {"ja": 1.0}
    script = scripts.most_common(1)[0][0]
    code = _SCRIPTS.get(script)
    if code is None:
        return {}
    for other, signs in _LETTERS.get(code, {}).items():
        if sum(map(text.count, signs)) >= _LEAST_LETTERS * num_letters:
            return {other: 1.0}
    return {code: 1.0}
