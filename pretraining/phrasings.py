"""How a request is worded: several ways of asking for each kind of text, and what to call the text of each source.
Words alone; knows nothing of how texts are found."""

from collections.abc import Mapping, Sequence

# {form} is what the source's texts are; {given} what was found in the text.
PHRASINGS: Mapping[str, Sequence[str]] = {
    "title": (
        "Write a short piece called “{given}”.",
        "Write {form} with the title “{given}”.",
        "Write the beginning of {form} titled “{given}”.",
        "“{given}” is the title. Write the text.",
        "Please write something under the heading “{given}”.",
        "{given}",
    ),
    "opening": (
        "Go on from this beginning: {given}",
        "Continue this text: {given}",
        "Here is how it begins. Write what comes next.\n\n{given}",
        "Carry on from here: “{given}”",
        "Finish this paragraph: {given}",
        "What comes after this?\n\n{given}",
    ),
    "summary": (
        "Write a paragraph that says this: {given}",
        "Say more about this: {given}",
        "Write a paragraph around this sentence: {given}",
        "Make this point in a paragraph of {form}: {given}",
        "This is the main point. Write the paragraph.\n\n{given}",
    ),
    "keywords": (
        "Write a paragraph with these words: {given}.",
        "Write a few sentences about {given}.",
        "Write a paragraph for {form} about {given}.",
        "Tell me something in which these occur: {given}.",
        "Use these words in a short text: {given}.",
    ),
    "reply": (
        "{given}",
        "Answer this question: {given}",
        "Somebody asks you: “{given}” What do you say?",
        "How would you answer this? {given}",
    ),
}
# A text is given and the request for it wanted: how the platform asks for a sample's request (tuning.made_prompts), and
# others.
ASKINGS: Sequence[str] = (
    "{excerpt}\n\n---\nIn one line: which request does the text above answer? Write the request alone.",
    "{excerpt}\n\nWhat was asked for, so that this was written?",
    "Which request does this text answer?\n\n{excerpt}",
)
FORMS: Mapping[str, str] = {
    "open_prose": "a text",
    "org_blogs": "a blog post",
    "classic_books": "an old book",
    "eltec_novels": "an old novel",
    "wikipedia": "an encyclopaedia article",
    "digitalgov": "a government web page",
}
# The register of a source that has but one: what a system message may truthfully ask for.
REGISTERS: Mapping[str, Sequence[str]] = {
    "org_blogs": ("You write blog posts for a community of researchers and programmers.", "Write like a blogger."),
    "changelog": ("You are a guest on a podcast and speak freely.", "Answer as people talk."),
    "dialogues": ("You are a helpful assistant and answer in a sentence or two.", "Answer briefly."),
    "classic_books": ("You write as books were written long ago.", "Write like an old book."),
    "eltec_novels": ("You write like a novelist of the nineteenth century.", "Write like an old novel."),
    "wikipedia": ("You write articles of an encyclopaedia.", "Write soberly, as an encyclopaedia does."),
    "digitalgov": ("You write plainly, for a government website.", "Write plain official English."),
}
DEFAULT_FORM = "a text"
